//! What commands take: time, processor time, memory; of their own processes, and of daemons that work for them.

use std::fs;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// How many of /proc's ticks are a second: the same on every machine, whatever its own clock.
const TICKS: f64 = 100.0;

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(5);

/// What a command takes, or several in turn.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Seconds by the clock.
    pub(crate) wall: f64,
    /// Seconds of processors, of all threads, children and daemons.
    pub(crate) cpu: f64,
    /// The most that was seen, if it was looked at.
    pub(crate) most: Load,
}

/// What processes have together at a moment, or had at most.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Resident memory in MiB; a page that several share counts once.
    pub(crate) memory: f64,
    /// Open file descriptors.
    #[allow(dead_code, reason = "not every bench prints it")]
    pub(crate) descriptors: usize,
    /// Threads.
    #[allow(dead_code, reason = "not every bench prints it")]
    pub(crate) threads: usize,
}

impl Load {
    fn most(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }

    /// Adds a process, unless it has ended.
    fn and(self, pid: u32) -> Self {
        let count = |what| fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
        Self {
            memory: self.memory + memory(pid).unwrap_or(0.0),
            descriptors: self.descriptors + count("fd"),
            threads: self.threads + count("task"),
        }
    }
}

/// The median of several costs' times, each by itself.
pub(crate) fn median(costs: &[Cost]) -> Cost {
    let of = |figure: fn(&Cost) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Cost { wall: of(|it| it.wall), cpu: of(|it| it.cpu), most: Load::default() }
}

/// Runs commands in turn. What was written before is on the disk by then. The error is what one said that failed.
///
/// Looking at memory takes time from what is looked at: a run tells its memory or its times, not both.
pub(crate) fn measure(
    commands: Vec<Command>,
    daemons: &[u32],
    memory: bool,
) -> Result<Cost, String> {
    rustix::fs::sync();
    let before = daemons_time(daemons);
    let mut all = Cost::default();
    for command in commands {
        let one = run(command, daemons, memory)?;
        all = Cost {
            wall: all.wall + one.wall,
            cpu: all.cpu + one.cpu,
            most: all.most.most(one.most),
        };
    }
    Ok(Cost { cpu: all.cpu + daemons_time(daemons) - before, ..all })
}

fn run(mut command: Command, daemons: &[u32], memory: bool) -> Result<Cost, String> {
    let mut said = tempfile::tempfile().unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone().unwrap());
    let begun = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let ended = AtomicBool::new(false);
    let (wall, most) = scope(|scope| {
        let sampler = memory.then(|| {
            let roots = [daemons, &[child.id()]].concat();
            let ended = &ended;
            scope.spawn(move || most_of(&roots, ended))
        });
        let pid = WaitId::Pid(Pid::from_child(&child));
        waitid(pid, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("it is a child");
        let wall = begun.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (wall, sampler.map_or(Load::default(), |sampler| sampler.join().unwrap()))
    });
    // It is not reaped yet, so all its threads are counted, and its own children that it has reaped.
    let cpu = processor_time(child.id()).expect("a command that has ended has its times");
    if !child.wait().unwrap().success() {
        let mut text = String::new();
        said.rewind().unwrap();
        said.read_to_string(&mut text).unwrap();
        return Err(format!("{command:?}: {text}"));
    }
    Ok(Cost { wall, cpu, most })
}

/// Returns the most that the trees of some processes have until the end.
fn most_of(roots: &[u32], ended: &AtomicBool) -> Load {
    let mut most = Load::default();
    while !ended.load(Ordering::Relaxed) {
        let now = roots.iter().flat_map(|&root| tree(root)).fold(Load::default(), Load::and);
        most = most.most(now);
        sleep(SAMPLE);
    }
    most
}

/// Returns a process with all its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    all
}

/// Returns a process's share of the memory that it has resident, in MiB; `None`: it has ended.
fn memory(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

fn daemons_time(daemons: &[u32]) -> f64 {
    daemons.iter().flat_map(|&daemon| tree(daemon)).filter_map(processor_time).sum()
}

/// Returns the seconds that a process and its reaped children have computed.
fn processor_time(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; user, system, and both of the children are the 14th to 17th field.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: f64 = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Some(ticks / TICKS)
}
