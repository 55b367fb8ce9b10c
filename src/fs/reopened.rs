//! Files that stay where they are and are opened again when somebody needs them: of hundreds, few are open at once.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Result;

/// So many are kept open.
const MOST: usize = 32;

/// The files that were used last, the last one first.
#[derive(Debug, Default)]
pub struct Reopened(Mutex<VecDeque<(PathBuf, Arc<File>)>>);

impl Reopened {
    /// Returns the file at a path, which `open` opens if it is not open. It stays open for as long as it is used.
    pub fn get(&self, path: &Path, open: impl FnOnce(&Path) -> Result<File>) -> Result<Arc<File>> {
        let recent = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut recent = recent();
            if let Some(at) = recent.iter().position(|(known, _)| known == path)
                && let Some(known) = recent.remove(at)
            {
                recent.push_front(known.clone());
                return Ok(known.1);
            }
        }
        let file = Arc::new(open(path)?);
        let mut recent = recent();
        recent.truncate(MOST - 1);
        recent.push_front((path.to_owned(), Arc::clone(&file)));
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_of_many_are_open() {
        let top = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..100).map(|n| top.path().join(n.to_string())).collect();
        paths.iter().for_each(|path| std::fs::write(path, path.to_str().unwrap()).unwrap());
        let reopened = Reopened::default();
        let mut opened = 0;
        let mut get = |path: &PathBuf| {
            let open = |path: &Path| {
                opened += 1;
                Ok(File::open(path).unwrap())
            };
            (std::io::read_to_string(&*reopened.get(path, open).unwrap()).unwrap(), opened)
        };
        let first = get(&paths[0]);
        assert_eq!(first, (paths[0].to_str().unwrap().to_owned(), 1));
        assert_eq!(get(&paths[0]), (String::new(), 1), "it is the same file, read to its end");
        for (number, path) in paths.iter().enumerate().skip(1) {
            assert_eq!(get(path), (path.to_str().unwrap().to_owned(), number + 1));
        }
        assert_eq!(get(&paths[0]), (first.0, 101), "it was closed");
        assert_eq!(reopened.0.lock().unwrap().len(), MOST);
    }
}
