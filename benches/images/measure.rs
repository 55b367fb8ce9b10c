//! What commands take: time, processor time, memory.

use std::fs;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// How many of /proc's ticks are a second: the same on every machine, whatever its own clock.
const TICKS: f64 = 100.0;

/// What a command takes, or several in turn.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Seconds by the clock.
    pub(crate) wall: f64,
    /// Seconds of processors, of all threads and children.
    pub(crate) cpu: f64,
    /// The most memory that a command had resident, in MiB.
    pub(crate) peak: f64,
}

/// The median of several costs, each figure by itself.
pub(crate) fn median(costs: &[Cost]) -> Cost {
    let of = |figure: fn(&Cost) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Cost { wall: of(|it| it.wall), cpu: of(|it| it.cpu), peak: of(|it| it.peak) }
}

/// Runs commands in turn, whose success is expected. What was written before is on the disk by then.
pub(crate) fn measure(commands: Vec<Command>) -> Cost {
    rustix::fs::sync();
    commands.into_iter().map(run).fold(Cost::default(), |all, one| Cost {
        wall: all.wall + one.wall,
        cpu: all.cpu + one.cpu,
        peak: all.peak.max(one.peak),
    })
}

fn run(mut command: Command) -> Cost {
    let mut said = tempfile::tempfile().unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone().unwrap());
    let begun = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = Pid::from_child(&child);
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    let mut peak = 0.0f64;
    let has_ended = || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        waitid(WaitId::Pid(pid), options).expect("the command is a child").is_some()
    };
    while !has_ended() {
        peak = peak.max(memory(&process).unwrap_or_default());
        sleep(Duration::from_millis(2));
    }
    let wall = begun.elapsed().as_secs_f64();
    // It is not reaped yet, so all its threads are counted, and its own children that it has reaped.
    let cpu = processor_time(&process).expect("a command that has ended has its times");
    if !child.wait().unwrap().success() {
        let mut text = String::new();
        said.rewind().unwrap();
        said.read_to_string(&mut text).unwrap();
        panic!("{command:?}: {text}");
    }
    Cost { wall, cpu, peak }
}

/// Returns the most memory that a process has had, in MiB.
fn memory(process: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// Returns the seconds that a process and its reaped children have computed.
fn processor_time(process: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("{process}/stat")).ok()?;
    // The name in parentheses may hold anything; user, system, and both of the children are the 14th to 17th field.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: f64 = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Some(ticks / TICKS)
}
