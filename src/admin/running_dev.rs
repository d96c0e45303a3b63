//! How the tool finds a `rollcall dev` on this machine. Each one keeps a small file while it runs, which says where
//! its table is. The process holds a lock on the file, so a file that a killed process left is recognised.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where a running `rollcall dev` has its table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningDev {
    /// The process.
    pub pid: u32,
    /// The table.
    pub table: String,
    /// Where DynamoDB answers.
    pub endpoint: String,
    /// The tenant whose key was printed.
    pub tenant: String,
}

/// What there is of `rollcall dev` on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundDevs {
    /// Those that run, by their process ids.
    pub running: Vec<RunningDev>,
    /// Those that ended without removing their file.
    pub ended: Vec<RunningDev>,
}

/// The file of a `rollcall dev`. It is removed when this is dropped.
#[derive(Debug)]
pub struct DevFile {
    path: PathBuf,
    _lock: File,
}

/// The folders that may hold the files, in the order in which they are tried: `rollcall` in the runtime directory,
/// or in the state directory (XDG Base Directory Specification).
fn folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = || variable("HOME").map(|home| home.join(".local/state"));
    let parents = [variable("XDG_RUNTIME_DIR"), variable("XDG_STATE_HOME").or_else(state)];
    let mut folders: Vec<_> = parents.into_iter().flatten().map(|parent| parent.join("rollcall")).collect();
    // They may be one folder.
    folders.dedup();
    folders
}

impl DevFile {
    /// Writes the file, readable by its owner only, and removes those that ended processes left.
    ///
    /// # Errors
    /// If no folder can be written. The tool needs `--table` and `--endpoint-url` then.
    pub fn write(dev: &RunningDev) -> io::Result<Self> {
        Self::write_in(&folders(), dev)
    }

    fn write_in(folders: &[PathBuf], dev: &RunningDev) -> io::Result<Self> {
        let mut outcome = Err(io::Error::other("neither XDG_RUNTIME_DIR nor HOME names a folder"));
        for folder in folders {
            outcome = Self::write_to(folder, dev);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn write_to(folder: &Path, dev: &RunningDev) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for path in files(folder) {
            if let Some(file) = File::open(&path).ok().filter(|file| file.try_lock().is_ok()) {
                std::fs::remove_file(&path)?;
                drop(file);
            }
        }
        let path = folder.join(format!("dev-{}.json", dev.pid));
        let temporary = path.with_extension("tmp");
        let _ = std::fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.lock()?;
        serde_json::to_writer(&file, dev)?;
        file.write_all(b"\n")?;
        // A reader finds the file only when it is whole and locked.
        std::fs::rename(&temporary, &path)?;
        Ok(Self { path, _lock: file })
    }
}

impl Drop for DevFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the file is left");
        }
    }
}

/// Finds every `rollcall dev` of this user on this machine.
pub fn find() -> FoundDevs {
    find_in(&folders())
}

fn find_in(folders: &[PathBuf]) -> FoundDevs {
    let mut found = FoundDevs::default();
    for path in folders.iter().flat_map(|folder| files(folder)) {
        let Ok(file) = File::open(&path) else { continue };
        let Ok(dev) = serde_json::from_reader::<_, RunningDev>(&file) else { continue };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => found.running.push(dev),
            _ => found.ended.push(dev),
        }
    }
    found.running.sort_by_key(|dev| dev.pid);
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("dev-") && name.ends_with(".json")
    };
    entries.filter(is_ours).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn dev(pid: u32) -> RunningDev {
        let (table, tenant) = ("rollcall".to_owned(), "demo".to_owned());
        RunningDev { pid, table, endpoint: format!("http://127.0.0.1:{pid}"), tenant }
    }

    #[test]
    fn a_file_is_there_as_long_as_its_process_holds_it() {
        let folder = std::env::temp_dir().join(format!("rollcall-devs-{}", uuid::Uuid::now_v7()));
        let folders = [PathBuf::from("/dev/null/nowhere"), folder.clone()];
        assert_eq!(find_in(&folders), FoundDevs::default());
        let first = DevFile::write_in(&folders, &dev(7)).expect("a file");
        let mode = std::fs::metadata(&first.path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = DevFile::write_in(&folders, &dev(5)).expect("a file");
        assert_eq!(find_in(&folders).running, [dev(5), dev(7)]);
        drop(second);
        assert_eq!(find_in(&folders).running, [dev(7)]);

        // As a killed process leaves it.
        let copy = folder.join("dev-9.json");
        std::fs::write(&copy, serde_json::to_vec(&dev(9)).expect("JSON")).expect("a copy");
        let found = find_in(&folders);
        assert_eq!((found.running, found.ended), (vec![dev(7)], vec![dev(9)]));
        let third = DevFile::write_in(&folders, &dev(11)).expect("a file");
        assert!(!copy.exists());
        assert_eq!(find_in(&folders), FoundDevs { running: vec![dev(7), dev(11)], ended: Vec::new() });
        drop((first, third));
        assert_eq!(find_in(&folders), FoundDevs::default());
        std::fs::remove_dir_all(folder).expect("the folder");
    }
}
