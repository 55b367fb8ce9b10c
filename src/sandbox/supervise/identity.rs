//! Who a process believes to be: user and group ids as `credentials(7)` has them, without the kernel's part in it.
//!
//! Whoever has the effective id 0 may become anybody, and whoever kept root's rights on the way from there. There are no
//! single capabilities here, and none that a new program would lose.

use rustix::io::Errno;

/// No id: "leave it as it is".
const KEEP: u32 = u32::MAX;

/// The four ids of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    /// What files are made with.
    pub(super) filesystem: u32,
}

impl Ids {
    /// All four alike.
    pub(super) const fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, filesystem: id }
    }

    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// `setuid(2)`, `setgid(2)`.
    fn set(self, id: u32, privileged: bool) -> Result<Self, Errno> {
        match id {
            KEEP => Err(Errno::INVAL),
            _ if privileged => Ok(Self::all(id)),
            _ if id == self.real || id == self.saved => {
                Ok(Self { effective: id, filesystem: id, ..self })
            }
            _ => Err(Errno::PERM),
        }
    }

    /// `setreuid(2)`, `setregid(2)`.
    fn set_two(self, real: u32, effective: u32, privileged: bool) -> Result<Self, Errno> {
        let may_be_real = [KEEP, self.real, self.effective].contains(&real);
        if !privileged && !(may_be_real && (effective == KEEP || self.has(effective))) {
            return Err(Errno::PERM);
        }
        let mut new = self;
        new.real = or(real, self.real);
        new.effective = or(effective, self.effective);
        if real != KEEP || (effective != KEEP && effective != self.real) {
            new.saved = new.effective;
        }
        new.filesystem = new.effective;
        Ok(new)
    }

    /// `setresuid(2)`, `setresgid(2)`.
    fn set_three(self, ids: [u32; 3], privileged: bool) -> Result<Self, Errno> {
        if !privileged && !ids.iter().all(|id| *id == KEEP || self.has(*id)) {
            return Err(Errno::PERM);
        }
        let [real, effective, saved] = ids;
        let effective = or(effective, self.effective);
        let (real, saved) = (or(real, self.real), or(saved, self.saved));
        Ok(Self { real, effective, saved, filesystem: effective })
    }

    /// What a setuid or setgid program has: the effective id of its file.
    pub(super) const fn lent(self, id: u32) -> Self {
        Self { effective: id, saved: id, filesystem: id, ..self }
    }

    /// `setfsuid(2)`, `setfsgid(2)`, which never fail.
    fn set_filesystem(self, id: u32, privileged: bool) -> Self {
        let may = id != KEEP && (privileged || id == self.filesystem || self.has(id));
        if may { Self { filesystem: id, ..self } } else { self }
    }
}

const fn or(id: u32, old: u32) -> u32 {
    if id == KEEP { old } else { id }
}

/// Which of the two kinds of ids a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    User,
    Group,
}

/// A change that a process asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// `setuid`.
    One(u32),
    /// `setreuid`.
    Two(u32, u32),
    /// `setresuid`.
    Three([u32; 3]),
    /// `setfsuid`.
    Filesystem(u32),
}

/// User, group and supplementary groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) user: Ids,
    pub(super) group: Ids,
    pub(super) groups: Vec<u32>,
    /// Whether rights outlive the change to another user: `PR_SET_KEEPCAPS`.
    pub(super) keeps_rights: bool,
    /// Whether it kept root's rights.
    pub(super) rights: bool,
}

impl Identity {
    /// Returns whether it may become anybody and give files away.
    pub(super) fn is_privileged(&self) -> bool {
        self.user.effective == 0 || self.rights
    }

    /// Returns the ids of a kind.
    pub(super) fn ids(&self, who: Who) -> Ids {
        match who {
            Who::User => self.user,
            Who::Group => self.group,
        }
    }

    /// Returns whether it is in a group.
    pub(super) fn is_in(&self, group: u32) -> bool {
        self.group.filesystem == group || self.groups.contains(&group)
    }

    /// Returns what it is after a change.
    pub(super) fn changed(&self, who: Who, change: Change) -> Result<Self, Errno> {
        let (old, privileged) = (self.ids(who), self.is_privileged());
        let new = match change {
            Change::One(id) => old.set(id, privileged)?,
            Change::Two(real, effective) => old.set_two(real, effective, privileged)?,
            Change::Three(ids) => old.set_three(ids, privileged)?,
            Change::Filesystem(id) => old.set_filesystem(id, privileged),
        };
        Ok(match who {
            Who::User => {
                Self { user: new, rights: privileged && self.keeps_rights, ..self.clone() }
            }
            Who::Group => Self { group: new, ..self.clone() },
        })
    }

    /// Returns what it is as another program, before that one's bits: rights are kept over no `execve(2)`.
    pub(super) fn as_program(&self) -> Self {
        let saved = |ids: Ids| Ids { saved: ids.effective, filesystem: ids.effective, ..ids };
        let (user, group) = (saved(self.user), saved(self.group));
        Self { user, group, groups: self.groups.clone(), keeps_rights: false, rights: false }
    }

    /// Returns what it is after `setgroups(2)`.
    pub(super) fn with_groups(&self, groups: Vec<u32>) -> Result<Self, Errno> {
        if !self.is_privileged() {
            return Err(Errno::PERM);
        }
        Ok(Self { groups, ..self.clone() })
    }
}

/// All identities that a sandbox has seen, by the numbers that its processes are marked with.
pub(super) struct Identities(Vec<Identity>);

impl Identities {
    /// So many are kept apart; a command that wants more is refused.
    const MOST: usize = 1024;

    /// Starts with the one that unmarked processes have.
    pub(super) fn new(first: Identity) -> Self {
        Self(vec![first])
    }

    /// Returns that of a number; of an unknown one the first.
    pub(super) fn get(&self, number: u64) -> &Identity {
        let known = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        known.unwrap_or(&self.0[0])
    }

    /// Returns the number of an identity.
    pub(super) fn number(&mut self, identity: Identity) -> Result<u64, Errno> {
        let known = self.0.iter().position(|known| *known == identity);
        let number = match known {
            Some(number) => number,
            None if self.0.len() == Self::MOST => return Err(Errno::AGAIN),
            None => {
                self.0.push(identity);
                self.0.len() - 1
            }
        };
        Ok(number as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(real: u32, effective: u32, saved: u32, filesystem: u32) -> Ids {
        Ids { real, effective, saved, filesystem }
    }

    #[test]
    fn root_becomes_anybody_and_nobody_becomes_root() {
        let root = Ids::all(0);
        assert_eq!(root.set(33, true), Ok(Ids::all(33)));
        assert_eq!(Ids::all(33).set(0, false), Err(Errno::PERM));
        assert_eq!(root.set(KEEP, true), Err(Errno::INVAL));
    }

    #[test]
    fn a_saved_id_leads_back() {
        let lowered = Ids::all(0).set_three([KEEP, 33, KEEP], true).unwrap();
        assert_eq!(lowered, ids(0, 33, 0, 33));
        assert_eq!(lowered.set(0, false), Ok(Ids::all(0)));
        assert_eq!(lowered.set_three([KEEP, 0, KEEP], false), Ok(Ids::all(0)));
        assert_eq!(lowered.set_three([33, KEEP, 5], false), Err(Errno::PERM));
    }

    #[test]
    fn two_ids_take_the_saved_one_along() {
        assert_eq!(Ids::all(0).set_two(KEEP, 33, true), Ok(ids(0, 33, 33, 33)));
        assert_eq!(Ids::all(0).set_two(KEEP, 0, true), Ok(Ids::all(0)));
        assert_eq!(ids(1, 2, 3, 2).set_two(2, 1, false), Ok(ids(2, 1, 1, 1)));
        assert_eq!(ids(1, 2, 3, 2).set_two(3, KEEP, false), Err(Errno::PERM));
    }

    #[test]
    fn identities_have_numbers() {
        let root = Identity {
            user: Ids::all(0),
            group: Ids::all(0),
            groups: vec![0],
            keeps_rights: false,
            rights: false,
        };
        let mut known = Identities::new(root.clone());
        let app = root.changed(Who::User, Change::One(7)).unwrap();
        assert_eq!(known.number(app.clone()), Ok(1));
        assert_eq!(known.number(app.clone()), Ok(1));
        assert_eq!(known.number(root.clone()), Ok(0));
        assert_eq!(known.get(1), &app);
        assert_eq!(known.get(u64::MAX), &root);
        assert_eq!(app.with_groups(vec![1]), Err(Errno::PERM));
        assert!(root.is_in(0) && !root.is_in(1));
        let keeping = Identity { keeps_rights: true, ..root };
        let kept = keeping.changed(Who::User, Change::One(7)).unwrap();
        assert!(kept.changed(Who::Group, Change::One(8)).is_ok());
        assert!(kept.as_program().changed(Who::Group, Change::One(8)).is_err());
        let lent = Ids::all(7).lent(0);
        assert_eq!((lent.real, lent.effective, lent.set(7, true)), (7, 0, Ok(Ids::all(7))));
    }
}
