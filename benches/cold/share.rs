//! The share of a processor that a function gets, imposed with a control group of Linux.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The microseconds in which a share is counted, as far as is known of Lambda.
const PERIOD: u64 = 20_000;
/// The memory with which a function has one whole processor, in MB.
const MEMORY_OF_ONE_PROCESSOR: u64 = 1769;

/// A control group with a limit of processor time.
pub struct ProcessorShare {
    folder: PathBuf,
}

impl ProcessorShare {
    /// Makes a group with the share that Lambda gives with this much memory. It goes before other work of the machine.
    ///
    /// # Errors
    /// If this process may not make one: it must be root, and the controller `cpu` must be mounted (version 2 or 1).
    pub fn of_memory(megabytes: u64) -> io::Result<Self> {
        let quota = PERIOD * megabytes.min(MEMORY_OF_ONE_PROCESSOR) / MEMORY_OF_ONE_PROCESSOR;
        Self::new(&format!("{megabytes}"), Some(quota))
    }

    /// Moves this process into a group without a limit that goes before other work of the machine, so that the table and
    /// the Runtime API answer at once.
    ///
    /// # Errors
    /// As for [`Self::of_memory`].
    pub fn put_this_process_first() -> io::Result<Self> {
        let first = Self::new("bench", None)?;
        fs::write(first.processes(), std::process::id().to_string())?;
        Ok(first)
    }

    fn new(name: &str, quota: Option<u64>) -> io::Result<Self> {
        let name = format!("rollcall-cold-{}-{name}", std::process::id());
        let version_2 = Path::new("/sys/fs/cgroup");
        let version_1 = version_2.join("cpu");
        let controllers = fs::read_to_string(version_2.join("cgroup.controllers")).unwrap_or_default();
        if controllers.split_whitespace().any(|one| one == "cpu") {
            fs::write(version_2.join("cgroup.subtree_control"), "+cpu")?;
            let group = Self::make(version_2.join(name))?;
            fs::write(group.folder.join("cpu.weight"), "10000")?;
            let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            fs::write(group.folder.join("cpu.max"), format!("{quota} {PERIOD}"))?;
            return Ok(group);
        }
        if !version_1.join("cpu.cfs_quota_us").exists() {
            return Err(io::Error::other("the controller cpu is not mounted in /sys/fs/cgroup"));
        }
        let group = Self::make(version_1.join(name))?;
        fs::write(group.folder.join("cpu.shares"), "262144")?;
        fs::write(group.folder.join("cpu.cfs_period_us"), PERIOD.to_string())?;
        let quota = quota.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
        fs::write(group.folder.join("cpu.cfs_quota_us"), quota)?;
        Ok(group)
    }

    fn make(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    /// The file that a process writes its id to, in order to be in the group.
    pub fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for ProcessorShare {
    fn drop(&mut self) {
        // The kernel refuses to remove a group that has processes: those of this process go back to where they came from.
        let root = self.folder.with_file_name("cgroup.procs");
        for process in fs::read_to_string(self.processes()).unwrap_or_default().lines() {
            let _ = fs::write(&root, process);
        }
        let _ = fs::remove_dir(&self.folder);
    }
}
