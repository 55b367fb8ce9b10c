//! The default system call filter: a balanced tree of range comparisons over [`super::seccomp_table`].
//!
//! The kernel runs a filter once per system call number when it is installed, so the tree is balanced by numbers.
//! Refused calls get EPERM; `clone3` and numbers newer than the profile get ENOSYS, on which programs fall back, as
//! runc does. Unlike moby's profile: 32-bit ARM programs and x32 programs get EPERM for
//! every call instead of a filter of their own, and pushing input into a terminal (TIOCSTI, TIOCLINUX) is refused,
//! because a command in the foreground shares kiln's terminal.

use libc::sock_filter;

use super::seccomp_table::{Table, tables};

/// What the filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Errno(i32),
    /// Allowed unless one of these bits is set in the argument.
    UnlessBits(u32, u32),
    /// Allowed unless the argument is one of these.
    UnlessEqual(u32, &'static [u32]),
    /// Allowed only if the argument is one of these.
    OnlyEqual(u32, &'static [u32]),
    /// Somebody else is asked.
    Ask,
    /// Somebody else is asked if one of these bits is set in the argument; else it is allowed.
    AskIfBits(u32, u32),
    /// Somebody else is asked if the argument is this; else it is allowed.
    AskIfEqual(u32, u32),
}

/// A call that somebody else is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Its number on the machine's own architecture.
    pub(super) number: u32,
    /// When.
    pub(super) when: When,
}

/// When a call is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// Each time.
    Always,
    /// If one of these bits (second) is set in an argument (first, from 0).
    Bits(u32, u32),
    /// If an argument (first, from 0) is this.
    Equal(u32, u32),
}

impl Rule {
    const fn verdict(self) -> Verdict {
        match self.when {
            When::Always => Verdict::Ask,
            When::Bits(argument, bits) => Verdict::AskIfBits(argument, bits),
            When::Equal(argument, value) => Verdict::AskIfEqual(argument, value),
        }
    }
}

const NEW_NAMESPACES: u32 = 0x7e02_0000;
const PERSONALITIES: &[u32] = &[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// AF_ALG and AF_VSOCK.
const SOCKET_FAMILIES: &[u32] = &[38, 40];
/// TIOCSTI and TIOCLINUX.
const TERMINAL_INPUT: &[u32] = &[0x5412, 0x541c];

/// Above all numbers of real system calls.
const LAST_CALL: u32 = 500;

const NUMBER_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;

/// Returns the default filter's program; what it allows and `asked` has is asked about.
pub(super) fn default_filter(asked: &[Rule]) -> Vec<sock_filter> {
    let mut program = vec![load(ARCH_OFFSET)];
    for (index, table) in tables().iter().enumerate() {
        let mut code = vec![load(NUMBER_OFFSET)];
        // The machine's own architecture comes first.
        code.extend(tree(&segments(table, if index == 0 { asked } else { &[] })));
        let over = u32::try_from(code.len()).expect("a table has some hundred instructions");
        program.push(jump(libc::BPF_JEQ, table.audit_arch, 1, 0));
        program.push(jump(libc::BPF_JA, over, 0, 0));
        program.extend(code);
    }
    program.push(answer(Verdict::Errno(libc::EPERM)));
    program
}

/// Returns a filter that refuses nothing and asks about what `asked` has.
pub(super) fn asking_filter(asked: &[Rule]) -> Vec<sock_filter> {
    let mut code = vec![load(NUMBER_OFFSET)];
    let runs = asked.iter().map(|rule| (rule.number, rule.number, rule.verdict()));
    code.extend(tree(&divided(runs.collect())));
    let native = tables().first().map_or(0, |table| table.audit_arch);
    let over = u32::try_from(code.len()).expect("a list has some hundred instructions");
    let mut program = vec![load(ARCH_OFFSET), jump(libc::BPF_JEQ, native, 1, 0)];
    program.push(jump(libc::BPF_JA, over, 0, 0));
    program.extend(code);
    program.push(answer(Verdict::Allow));
    program
}

/// Divides all numbers into runs with one verdict each; each run is given by its first number.
fn segments(table: &Table, asked: &[Rule]) -> Vec<(u32, Verdict)> {
    let special = [
        (table.clone3, Verdict::Errno(libc::ENOSYS)),
        (table.clone, Verdict::UnlessBits(0, NEW_NAMESPACES)),
        (table.socket, Verdict::UnlessEqual(0, SOCKET_FAMILIES)),
        (table.personality, Verdict::OnlyEqual(0, PERSONALITIES)),
        (table.ioctl, Verdict::UnlessEqual(1, TERMINAL_INPUT)),
    ];
    let refused = table.refused.iter().map(|&(from, to)| (from, to, Verdict::Errno(libc::EPERM)));
    let mut runs: Vec<(u32, u32, Verdict)> = refused.collect();
    runs.extend(special.map(|(number, verdict)| (number, number, verdict)));
    runs.extend(asked.iter().map(|rule| (rule.number, rule.number, rule.verdict())));
    let mut segments = divided(runs);
    segments.push((table.last + 1, Verdict::Errno(libc::ENOSYS)));
    // Numbers of the x32 kind carry this bit.
    segments.push((0x4000_0000, Verdict::Errno(libc::EPERM)));
    segments
}

/// Fills the gaps between runs, which are given by first and last number.
fn divided(mut runs: Vec<(u32, u32, Verdict)>) -> Vec<(u32, Verdict)> {
    runs.sort_by_key(|&(from, ..)| from);
    let mut segments = Vec::with_capacity(2 * runs.len() + 3);
    let mut next = 0;
    for (from, to, verdict) in runs {
        if from > next {
            segments.push((next, Verdict::Allow));
        }
        segments.push((from, verdict));
        next = to + 1;
    }
    segments.push((next, Verdict::Allow));
    segments
}

fn tree(segments: &[(u32, Verdict)]) -> Vec<sock_filter> {
    if let [(_, verdict)] = segments {
        return leaf(*verdict);
    }
    let (left, right) = segments.split_at(middle(segments));
    let pivot = right[0].0;
    let (left, right) = (tree(left), tree(right));
    let mut code = match u8::try_from(left.len()) {
        Ok(over) => vec![jump(libc::BPF_JGE, pivot, over, 0)],
        Err(_) => {
            let over = u32::try_from(left.len()).expect("a table has some hundred instructions");
            vec![jump(libc::BPF_JGE, pivot, 0, 1), jump(libc::BPF_JA, over, 0, 0)]
        }
    };
    code.extend(left);
    code.extend(right);
    code
}

/// Where to divide segments so that each side has half of the numbers: what an installation pays for is the number of
/// comparisons summed over all system calls, not the longest path.
fn middle(segments: &[(u32, Verdict)]) -> usize {
    let end = |at: usize| segments[at].0.min(LAST_CALL);
    let (first, last) = (end(0), end(segments.len() - 1));
    let half = first + (last - first) / 2;
    let nearest = (1..segments.len()).min_by_key(|&at| end(at).abs_diff(half));
    nearest.expect("there are at least two segments")
}

fn leaf(verdict: Verdict) -> Vec<sock_filter> {
    let refuse = answer(Verdict::Errno(libc::EPERM));
    let allow = answer(Verdict::Allow);
    match verdict {
        Verdict::Allow | Verdict::Errno(_) | Verdict::Ask => vec![answer(verdict)],
        Verdict::AskIfBits(arg, bits) => {
            let ask = answer(Verdict::Ask);
            vec![load(argument(arg)), jump(libc::BPF_JSET, bits, 1, 0), allow, ask]
        }
        Verdict::AskIfEqual(arg, value) => {
            let ask = answer(Verdict::Ask);
            vec![load(argument(arg)), jump(libc::BPF_JEQ, value, 1, 0), allow, ask]
        }
        Verdict::UnlessBits(arg, bits) => {
            vec![load(argument(arg)), jump(libc::BPF_JSET, bits, 1, 0), allow, refuse]
        }
        Verdict::UnlessEqual(arg, values) => equal_to_any(arg, values, allow, refuse),
        Verdict::OnlyEqual(arg, values) => equal_to_any(arg, values, refuse, allow),
    }
}

fn equal_to_any(arg: u32, values: &[u32], none: sock_filter, any: sock_filter) -> Vec<sock_filter> {
    let mut code = vec![load(argument(arg))];
    let count = u8::try_from(values.len()).expect("a handful of values");
    for (at, value) in (0..count).zip(values) {
        code.push(jump(libc::BPF_JEQ, *value, count - at, 0));
    }
    code.extend([none, any]);
    code
}

/// The low half of an argument: the kernel reads no more of those that are compared here.
fn argument(index: u32) -> u32 {
    const { assert!(cfg!(target_endian = "little")) };
    16 + 8 * index
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn jump(comparison: u32, value: u32, yes: u8, no: u8) -> sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, value, yes, no)
}

fn answer(verdict: Verdict) -> sock_filter {
    let value = match verdict {
        Verdict::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
        Verdict::Ask => libc::SECCOMP_RET_USER_NOTIF,
        _ => libc::SECCOMP_RET_ALLOW,
    };
    instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).expect("an operation fits in 16 bits"), jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel does; returns the answer and how many instructions it took.
    fn run(program: &[sock_filter], arch: u32, number: u32, args: [u32; 2]) -> (u32, usize) {
        let (mut at, mut loaded, mut steps) = (0, 0, 0);
        loop {
            let op = program[at];
            let (class, k) = (u32::from(op.code), op.k);
            at += 1;
            steps += 1;
            let compare = |yes: bool| usize::from(if yes { op.jt } else { op.jf });
            at += match class & 0x07 {
                libc::BPF_LD => {
                    loaded = match k {
                        NUMBER_OFFSET => number,
                        ARCH_OFFSET => arch,
                        16 => args[0],
                        24 => args[1],
                        other => panic!("loads {other}"),
                    };
                    0
                }
                libc::BPF_RET => return (k, steps),
                _ => match class & 0xf0 {
                    libc::BPF_JA => k as usize,
                    libc::BPF_JEQ => compare(loaded == k),
                    libc::BPF_JGE => compare(loaded >= k),
                    libc::BPF_JSET => compare(loaded & k != 0),
                    other => panic!("jumps by {other}"),
                },
            };
        }
    }

    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    #[test]
    fn every_number_gets_its_verdict() {
        let program = default_filter(&[]);
        for table in tables() {
            for number in 0..=table.last {
                let listed = table.refused.iter().any(|&(a, b)| (a..=b).contains(&number));
                let want = match number {
                    _ if listed => EPERM,
                    n if n == table.clone3 => ENOSYS,
                    _ => ALLOW,
                };
                let (answer, steps) = run(&program, table.audit_arch, number, [0, 0]);
                assert_eq!(answer, want, "number {number}");
                assert!(steps < 24, "number {number} takes {steps} instructions");
            }
            assert_eq!(run(&program, table.audit_arch, table.last + 1, [0, 0]).0, ENOSYS);
            assert_eq!(run(&program, table.audit_arch, 0x4000_0001, [0, 0]).0, EPERM);
        }
        assert_eq!(run(&program, 1, 0, [0, 0]).0, EPERM);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_profile_is_mobys() {
        let program = default_filter(&[]);
        let profiles = [
            include_str!("../../testdata/sandbox/moby-amd64.txt"),
            include_str!("../../testdata/sandbox/moby-x86.txt"),
        ];
        for (table, profile) in tables().iter().zip(profiles) {
            for line in profile.lines().filter(|line| !line.starts_with('#')) {
                let [number, name, verdict] = line.split(' ').collect::<Vec<_>>()[..] else {
                    panic!("{line}");
                };
                let want = match verdict {
                    "allowed" | "some" => ALLOW,
                    "ENOSYS" => ENOSYS,
                    _ => EPERM,
                };
                let (answer, _) = run(&program, table.audit_arch, number.parse().unwrap(), [0, 0]);
                assert_eq!(answer, want, "{name}");
            }
        }
    }

    #[test]
    fn arguments_decide_for_some_calls() {
        let program = default_filter(&[]);
        for table in tables() {
            let answer = |number, args| run(&program, table.audit_arch, number, args).0;
            assert_eq!(answer(table.clone, [0x0120_0011, 0]), ALLOW);
            assert_eq!(answer(table.clone, [0x1000_0011, 0]), EPERM);
            assert_eq!(answer(table.socket, [2, 0]), ALLOW);
            assert_eq!(answer(table.socket, [38, 0]), EPERM);
            assert_eq!(answer(table.socket, [39, 0]), ALLOW);
            assert_eq!(answer(table.socket, [40, 0]), EPERM);
            assert_eq!(answer(table.personality, [0x8, 0]), ALLOW);
            assert_eq!(answer(table.personality, [0x4, 0]), EPERM);
            assert_eq!(answer(table.ioctl, [0, 0x5401]), ALLOW);
            assert_eq!(answer(table.ioctl, [0, 0x5412]), EPERM);
        }
    }

    #[test]
    fn what_is_asked_about_is_asked_about() {
        let rules = [
            Rule { number: 0, when: When::Always },
            Rule { number: 2, when: When::Bits(1, 0o100) },
            Rule { number: 3, when: When::Equal(0, 8) },
        ];
        for program in [default_filter(&rules), asking_filter(&rules)] {
            let own = &tables()[0];
            let asked = |number, args| {
                run(&program, own.audit_arch, number, args).0 == libc::SECCOMP_RET_USER_NOTIF
            };
            assert!(asked(0, [0, 0]) && !asked(1, [0, 0]));
            assert!(asked(2, [0, 0o101]) && !asked(2, [0o100, 0o77]));
            assert!(asked(3, [8, 0]) && !asked(3, [9, 8]));
            for other in &tables()[1..] {
                assert_eq!(run(&program, other.audit_arch, 0, [0, 0]).0, ALLOW);
            }
        }
        let insecure = asking_filter(&rules);
        assert_eq!(run(&insecure, tables()[0].audit_arch, 165, [0, 0]).0, ALLOW, "mount");
    }
}
