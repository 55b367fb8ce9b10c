//! The same work on several things at once, on threads that end with it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Builder;

/// How many threads can compute at once; 1 where nobody knows.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does `work` on every item, on as many as `threads` threads, and returns the results in the items' order.
///
/// After an error no further item is begun; of several errors the one of the earliest item is returned.
pub fn map<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((index, result));
        }
        done
    };
    let mut done = match threads.min(items.len()) {
        0 | 1 => run(),
        threads => std::thread::scope(|scope| {
            // Where no more threads are allowed, fewer do it.
            let start = |_| Builder::new().spawn_scoped(scope, run).ok();
            let workers: Vec<_> = (1..threads).map_while(start).collect();
            let mut done = run();
            for worker in workers {
                match worker.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        }),
    };
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_the_first_error_counts() {
        let items: Vec<u32> = (0..100).collect();
        for threads in [0, 1, 4, 200] {
            let doubled = map(threads, &items, |item| Ok::<_, ()>(item * 2)).unwrap();
            assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
            let failed = map(threads, &items, |item| if *item < 50 { Ok(()) } else { Err(*item) });
            assert_eq!(failed, Err(50), "{threads}");
        }
        assert_eq!(map(4, &[], |_: &u32| Err::<(), _>(1)), Ok(Vec::new()));
    }
}
