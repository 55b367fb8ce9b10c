//! Flags that limit what the commands of a build, or of `kiln run`, may use of the machine.

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::sandbox::spec::{Limits, Swap};

use super::build;

const HEADING: &str = "Limits of each command";

/// As docker has them; what `build` and `run` share.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LimitFlags {
    /// Memory, with unit b, k, m or g
    #[arg(short, long, value_name = "BYTES", help_heading = HEADING)]
    memory: Option<String>,
    /// Memory and swap together; -1 is unlimited [default: twice the memory]
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, help_heading = HEADING)]
    memory_swap: Option<String>,
    /// Share of the processors beside others who want them; 1024 is the usual one
    #[arg(short, long, value_name = "NUMBER", help_heading = HEADING)]
    cpu_shares: Option<String>,
    /// Microseconds in which the quota is used up [default: 100000]
    #[arg(long, value_name = "NUMBER", help_heading = HEADING)]
    cpu_period: Option<String>,
    /// Microseconds of processor time in each period
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, help_heading = HEADING)]
    cpu_quota: Option<String>,
    /// Processors: 0-2,7
    #[arg(long, value_name = "LIST", help_heading = HEADING)]
    cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST", help_heading = HEADING)]
    cpuset_mems: Option<String>,
    /// Processes and threads, with one of the sandbox's own
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, help_heading = HEADING)]
    pids_limit: Option<String>,
    /// The control group in which theirs are made: a path, or a slice of systemd's
    #[arg(long, value_name = "PATH", help_heading = HEADING)]
    cgroup_parent: Option<String>,
}

impl LimitFlags {
    /// Reads the flags, and those that stand in `--resource`.
    pub(crate) fn limits(&self, resources: &[String]) -> Result<Limits, Diagnostic> {
        let mut flags = self.clone();
        for text in resources {
            flags.set(text)?;
        }
        let swap = given(&flags.memory_swap, |text| match text {
            "-1" => Ok(Some(Swap::Unlimited)),
            text => Ok(positive(build::size("--memory-swap", text)?).map(Swap::With)),
        })?;
        let limits = Limits {
            memory: given(&flags.memory, |text| Ok(positive(build::size("--memory", text)?)))?,
            swap,
            cpu_shares: given(&flags.cpu_shares, |text| number("--cpu-shares", text))?,
            cpu_period: given(&flags.cpu_period, |text| number("--cpu-period", text))?,
            cpu_quota: given(&flags.cpu_quota, |text| unless_minus("--cpu-quota", text))?,
            cpus: given(&flags.cpuset_cpus, |text| set("--cpuset-cpus", text))?,
            memory_nodes: given(&flags.cpuset_mems, |text| set("--cpuset-mems", text))?,
            pids: given(&flags.pids_limit, |text| unless_minus("--pids-limit", text))?,
            parent: flags.cgroup_parent.filter(|parent| !parent.is_empty()),
        };
        match (limits.memory, limits.swap) {
            (None, Some(Swap::With(_))) => Err(wrong(
                "`--memory-swap` needs `--memory`",
                "it is what memory and swap have together",
            )),
            (Some(memory), Some(Swap::With(both))) if both < memory => Err(wrong(
                "`--memory-swap` is less than `--memory`",
                "it is what memory and swap have together",
            )),
            _ => Ok(limits),
        }
    }

    /// Takes one word of `--resource`.
    fn set(&mut self, text: &str) -> Result<(), Diagnostic> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let field = match name {
            "memory" => &mut self.memory,
            "memory-swap" => &mut self.memory_swap,
            "cpu-shares" => &mut self.cpu_shares,
            "cpu-period" => &mut self.cpu_period,
            "cpu-quota" => &mut self.cpu_quota,
            "cpuset-cpus" => &mut self.cpuset_cpus,
            "cpuset-mems" => &mut self.cpuset_mems,
            _ => {
                return Err(wrong(
                    &format!("unknown resource `{name}` in `--resource {text}`"),
                    "the resources are memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus and cpuset-mems",
                ));
            }
        };
        *field = Some(value.to_owned());
        Ok(())
    }
}

/// Nothing is what docker takes for no limit.
fn given<T>(
    text: &Option<String>,
    read: impl Fn(&str) -> Result<Option<T>, Diagnostic>,
) -> Result<Option<T>, Diagnostic> {
    text.as_deref().filter(|text| !text.is_empty()).map_or(Ok(None), read)
}

fn positive(number: u64) -> Option<u64> {
    Some(number).filter(|&number| number > 0)
}

fn number(flag: &str, text: &str) -> Result<Option<u64>, Diagnostic> {
    let number = text.parse().map_err(|_| {
        wrong(
            &format!("invalid number `{text}` for `{flag}`"),
            "it is a whole number; 0 is no limit",
        )
    });
    number.map(positive)
}

fn unless_minus(flag: &str, text: &str) -> Result<Option<u64>, Diagnostic> {
    if text == "-1" { Ok(None) } else { number(flag, text) }
}

fn set(flag: &str, text: &str) -> Result<Option<String>, Diagnostic> {
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    let is_range = |part: &str| match part.split_once('-') {
        Some((from, to)) => is_number(from) && is_number(to),
        None => is_number(part),
    };
    if text.split(',').all(is_range) {
        return Ok(Some(text.to_owned()));
    }
    Err(wrong(&format!("invalid list `{text}` for `{flag}`"), "write it as `0-2,7`"))
}

fn wrong(message: &str, hint: &str) -> Diagnostic {
    Diagnostic::new(Blame::Input, message).hint(Some(hint.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    struct Words {
        #[command(flatten)]
        limits: LimitFlags,
        #[arg(long)]
        resource: Vec<String>,
    }

    fn read(words: &[&str]) -> Result<Limits, String> {
        let words = Words::try_parse_from(words).unwrap();
        words.limits.limits(&words.resource).map_err(|problem| problem.message)
    }

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        let none = Limits::default();
        let memory = |memory, swap| Limits { memory: Some(memory), swap, ..Limits::default() };
        let both = memory(64 << 20, Some(Swap::With(128 << 20)));
        let cases: &[(&[&str], Limits)] = &[
            (&[], none.clone()),
            (&["-m", "0", "--cpu-quota", "-1", "--pids-limit=-1", "--cpuset-cpus="], none),
            (&["-m", "64m"], memory(64 << 20, None)),
            (&["--memory=64m", "--memory-swap", "128m"], both.clone()),
            (&["--resource", "memory=64m", "--resource", "memory-swap=128m"], both),
            (&["-m64m", "--memory-swap", "-1"], memory(64 << 20, Some(Swap::Unlimited))),
            (
                &["-c", "512", "--cpu-period=5000", "--cpu-quota", "2500", "--pids-limit", "9"],
                Limits {
                    cpu_shares: Some(512),
                    cpu_period: Some(5000),
                    cpu_quota: Some(2500),
                    pids: Some(9),
                    ..Limits::default()
                },
            ),
            (
                &["--cpuset-cpus", "0-2,7", "--cpuset-mems=0", "--cgroup-parent", "/a/b"],
                Limits {
                    cpus: Some("0-2,7".into()),
                    memory_nodes: Some("0".into()),
                    parent: Some("/a/b".into()),
                    ..Limits::default()
                },
            ),
        ];
        for (words, want) in cases {
            assert_eq!(read(words).as_ref(), Ok(want), "{words:?}");
        }
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        let cases: &[(&[&str], &str)] = &[
            (&["-m", "much"], "invalid size `much` for `--memory`"),
            (&["--memory-swap", "1g"], "`--memory-swap` needs `--memory`"),
            (&["-m1g", "--memory-swap", "1m"], "`--memory-swap` is less than `--memory`"),
            (&["-c", "x"], "invalid number `x` for `--cpu-shares`"),
            (&["--cpu-quota", "-2"], "invalid number `-2` for `--cpu-quota`"),
            (&["--cpuset-cpus", "0-"], "invalid list `0-` for `--cpuset-cpus`"),
            (&["--resource", "disk=1"], "unknown resource `disk` in `--resource disk=1`"),
        ];
        for (words, want) in cases {
            assert_eq!(read(words).unwrap_err(), *want, "{words:?}");
        }
    }
}
