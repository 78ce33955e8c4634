//! The resources of a process and its children, as Linux reports them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Memory (a page shared by several processes counts once), threads and CPU time.
#[derive(Default)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) threads: u64,
    /// Since the process started, including children that have ended.
    pub(crate) cpu: Duration,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Option<Usage> {
        let parents = parents();
        let belongs = |mut process: u32| {
            while process != pid {
                match parents.get(&process) {
                    Some(&parent) if parent != 0 => process = parent,
                    _ => return false,
                }
            }
            true
        };
        let mut usage = Usage::default();
        for &process in parents.keys().filter(|&&process| belongs(process)) {
            // A process that has ended meanwhile counts as zero.
            usage.bytes += number(process, "smaps_rollup", "Pss:").unwrap_or(0) * 1024;
            usage.threads += number(process, "status", "Threads:").unwrap_or(0);
            usage.cpu += cpu(process).unwrap_or_default();
        }
        (usage.threads > 0).then_some(usage)
    }
}

/// Returns the parent of each process.
fn parents() -> BTreeMap<u32, u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, number(pid, "status", "PPid:")? as u32))).collect()
}

fn number(process: u32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn cpu(process: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The fields after the name, which may contain any character: the CPU time of the process and
    // of its children, in hundredths of a second.
    let numbers = text.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
    let ticks: u64 = numbers.filter_map(|number| number.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(10 * ticks))
}
