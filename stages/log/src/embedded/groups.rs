//! Consumer groups: who reads which partition. Pure decisions, no records, no waiting.
//!
//! Comes in: members that join, leave and poll. Goes out: partitions given and taken, so that each
//! has one owner at most, loads differ as little as the topics allow, and nothing moves without
//! need. A partition goes to its new owner only after the old one has been told. Nothing here
//! survives the process: a group's memory is its commits.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::Pid;

/// A member's number in the whole log; never used again.
pub(super) type MemberId = u64;

/// What a member has to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Revoked(Vec<Pid>),
    Assigned(Vec<Pid>),
}

#[derive(Debug, Default)]
struct Member {
    /// The partitions of the topics that it subscribed to.
    eligible: BTreeSet<Pid>,
    /// Owned, but it has not been told yet.
    given: BTreeSet<Pid>,
    /// Owned until it has been told that it is not.
    taken: BTreeSet<Pid>,
}

/// The members of one group.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: BTreeMap<MemberId, Member>,
    owners: BTreeMap<Pid, MemberId>,
}

impl Group {
    /// A member joins, or its topics have got more partitions.
    pub(super) fn join(&mut self, id: MemberId, eligible: BTreeSet<Pid>) {
        self.members.entry(id).or_default().eligible = eligible;
        self.settle();
    }

    /// A member leaves with all it had. True if the group is empty.
    pub(super) fn leave(&mut self, id: MemberId) -> bool {
        self.members.remove(&id);
        self.owners.retain(|_, owner| *owner != id);
        self.settle();
        self.members.is_empty()
    }

    /// What the member must be told now; what is taken goes first.
    pub(super) fn change(&mut self, id: MemberId) -> Option<Change> {
        let member = self.members.get_mut(&id)?;
        if !member.taken.is_empty() {
            let taken = std::mem::take(&mut member.taken);
            self.owners.retain(|pid, _| !taken.contains(pid));
            self.settle();
            return Some(Change::Revoked(taken.into_iter().collect()));
        }
        if member.given.is_empty() {
            return None;
        }
        let given = std::mem::take(&mut member.given);
        Some(Change::Assigned(given.into_iter().collect()))
    }

    fn settle(&mut self) {
        let eligible: BTreeMap<_, _> = self
            .members
            .iter()
            .map(|(id, member)| (*id, &member.eligible))
            .collect();
        let target = assign(&eligible, &self.owners);
        for (id, member) in &mut self.members {
            member.taken.clear();
            // What it has not been told of goes back without a word.
            member.given.retain(|pid| {
                let keep = target.get(pid) == Some(id);
                if !keep {
                    self.owners.remove(pid);
                }
                keep
            });
        }
        for (pid, to) in target {
            let owner = self.owners.get(&pid).copied();
            if owner == Some(to) {
                continue;
            }
            if let Some(old) = owner.and_then(|owner| self.members.get_mut(&owner)) {
                old.taken.insert(pid);
            } else if let Some(new) = self.members.get_mut(&to) {
                new.given.insert(pid);
                self.owners.insert(pid, to);
            }
        }
    }
}

/// Who should own each partition: its owner where that is fair, else the least loaded member.
fn assign(eligible: &BTreeMap<MemberId, &BTreeSet<Pid>>, owners: &BTreeMap<Pid, MemberId>) -> BTreeMap<Pid, MemberId> {
    let mut held: BTreeMap<MemberId, BTreeSet<Pid>> = eligible.keys().map(|id| (*id, BTreeSet::new())).collect();
    let pids: BTreeSet<Pid> = eligible.values().flat_map(|pids| pids.iter().copied()).collect();
    let mut free = Vec::new();
    for pid in pids {
        let owner = owners
            .get(&pid)
            .filter(|id| eligible.get(id).is_some_and(|e| e.contains(&pid)));
        match owner.and_then(|id| held.get_mut(id)) {
            Some(held) => {
                held.insert(pid);
            }
            None => free.push(pid),
        }
    }
    let least = |held: &BTreeMap<MemberId, BTreeSet<Pid>>, pid: Pid| {
        let able = held.iter().filter(|(id, _)| eligible[id].contains(&pid));
        able.map(|(id, pids)| (pids.len(), *id)).min()
    };
    for pid in free {
        if let Some((_, id)) = least(&held, pid) {
            held.entry(id).or_default().insert(pid);
        }
    }
    // Each move shrinks the sum of squared loads, so this ends.
    while let Some((from, to, pid)) = held.iter().find_map(|(from, pids)| {
        pids.iter().rev().find_map(|pid| {
            let (load, to) = least(&held, *pid)?;
            (load + 1 < pids.len()).then_some((*from, to, *pid))
        })
    }) {
        held.entry(from).or_default().remove(&pid);
        held.entry(to).or_default().insert(pid);
    }
    let pairs = held
        .into_iter()
        .flat_map(|(id, pids)| pids.into_iter().map(move |pid| (pid, id)));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lets every member hear what it must, until nobody has anything to hear.
    fn tell_all(group: &mut Group, known: &mut BTreeMap<MemberId, BTreeSet<Pid>>) {
        loop {
            let mut told = false;
            for id in group.members.keys().copied().collect::<Vec<_>>() {
                while let Some(change) = group.change(id) {
                    told = true;
                    let mine = known.entry(id).or_default();
                    match change {
                        Change::Revoked(pids) => {
                            assert!(pids.iter().all(|pid| mine.remove(pid)), "had been given");
                        }
                        Change::Assigned(pids) => mine.extend(pids),
                    }
                    let count: usize = known.values().map(BTreeSet::len).sum();
                    let distinct: BTreeSet<_> = known.values().flatten().collect();
                    assert_eq!(count, distinct.len(), "nobody reads what another reads");
                }
            }
            if !told {
                return;
            }
        }
    }

    proptest! {
        #[test]
        fn every_partition_has_one_owner_and_loads_are_even(
            steps in prop::collection::vec((0_u64..5, any::<bool>(), any::<bool>()), 1..20),
            partitions in 1_u32..20,
        ) {
            let mut group = Group::default();
            let mut known = BTreeMap::new();
            for (id, joins, told) in steps {
                if joins {
                    group.join(id, (0..partitions).collect());
                } else {
                    known.remove(&id);
                    group.leave(id);
                }
                if told {
                    tell_all(&mut group, &mut known);
                }
            }
            tell_all(&mut group, &mut known);
            let loads: Vec<usize> = group
                .members
                .keys()
                .map(|id| known.get(id).map_or(0, BTreeSet::len))
                .collect();
            if let (Some(most), Some(least)) = (loads.iter().max(), loads.iter().min()) {
                prop_assert!(most - least <= 1, "{loads:?}");
                prop_assert_eq!(loads.iter().sum::<usize>(), partitions as usize);
            }
        }
    }

    #[test]
    fn nothing_moves_without_need() {
        let mut group = Group::default();
        let mut known = BTreeMap::new();
        group.join(0, (0..6).collect());
        tell_all(&mut group, &mut known);
        group.join(1, (0..6).collect());
        tell_all(&mut group, &mut known);
        let before = known.clone();
        group.join(2, (0..6).collect());
        tell_all(&mut group, &mut known);
        for id in [0, 1] {
            assert_eq!(known[&id].len(), 2);
            assert!(known[&id].is_subset(&before[&id]), "those who stay get nothing new");
        }
    }
}
