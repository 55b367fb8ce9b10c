//! What can go, and what goes first.
//!
//! A root stays, and with it everything that it needs, directly or not. Of the rest the filter chooses; what is needed
//! by something that was not chosen stays as well. With a size to keep, results go one by one until enough is gone:
//! those first that were used longest ago, weighed by how many bytes they take for each millisecond that it took to
//! make them; and no step goes before all that were done upon it, which would be hard to find without it.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use super::inventory::{Inventory, Node, Part};
use super::{Kind, Prune};
use crate::store::RecordKind;

/// How fast something comes back of which nobody knows it, in bytes a millisecond: 10 MB a second.
const USUAL_RATE: f64 = 10_000.0;
/// However fast or slow a step was, its age counts too.
const FASTEST: f64 = USUAL_RATE * 30.0;
const SLOWEST: f64 = USUAL_RATE / 30.0;

/// How long it is remembered which steps a Dockerfile had and which files a context, if nobody builds it.
const MEMORY: Duration = Duration::from_secs(30 * 86_400);

/// What is to be chosen from.
pub(super) struct Plan<'a> {
    inventory: &'a Inventory,
    prune: &'a Prune,
    /// By node: it may go.
    free: Vec<bool>,
}

/// Returns the roots and everything that they need.
pub(super) fn reached(inventory: &Inventory, roots: impl IntoIterator<Item = usize>) -> Vec<bool> {
    let mut reached = vec![false; inventory.nodes.len()];
    let mut open: Vec<usize> = roots.into_iter().collect();
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut reached[index], true) {
            open.extend(&inventory.nodes[index].needs);
        }
    }
    reached
}

impl<'a> Plan<'a> {
    /// Looks at what can go; `roots` stay besides the tags.
    pub(super) fn new(inventory: &'a Inventory, prune: &'a Prune, roots: Vec<usize>) -> Self {
        let is_tag = |index: &usize| inventory.nodes[*index].part == Part::Record(RecordKind::Tag);
        let tags = (0..inventory.nodes.len()).filter(is_tag);
        let tagged = reached(inventory, tags);
        let roots = roots.into_iter().chain((0..tagged.len()).filter(|index| tagged[*index]));
        let mut kept = reached(inventory, roots);
        if !prune.all {
            let related = related(inventory, &tagged);
            let related = (0..kept.len()).filter(|index| kept[*index] || related[*index]);
            kept = reached(inventory, related);
        }
        let lets = |index: usize| {
            let node = &inventory.nodes[index];
            !kept[index] && prune.filter.lets(node.kind, Some(node.used))
        };
        let lets: Vec<bool> = (0..kept.len()).map(lets).collect();
        let others = reached(inventory, (0..kept.len()).filter(|index| !lets[*index]));
        let free = others.iter().map(|is_reached| !is_reached).collect();
        Self { inventory, prune, free }
    }

    /// Returns the nodes that go.
    pub(super) fn choose(&self) -> BTreeSet<usize> {
        let all = (0..self.free.len()).filter(|index| self.free[*index]);
        match self.prune.keep {
            None => all.collect(),
            Some(keep) => self.until(keep),
        }
    }

    /// Takes away one unit after the other until no more than `keep` bytes are left.
    fn until(&self, keep: u64) -> BTreeSet<usize> {
        let nodes = &self.inventory.nodes;
        let mut users = vec![0_usize; nodes.len()];
        nodes.iter().flat_map(|node| &node.needs).for_each(|index| users[*index] += 1);
        let (mut gone, mut total) = (BTreeSet::new(), self.inventory.total());
        for unit in self.units(&users) {
            if total <= keep {
                break;
            }
            let mut open = unit;
            while let Some(index) = open.pop() {
                if users[index] > 0 || !self.free[index] || !gone.insert(index) {
                    continue;
                }
                total = total.saturating_sub(nodes[index].size);
                for needed in &nodes[index].needs {
                    users[*needed] -= 1;
                    open.push(*needed);
                }
            }
        }
        gone
    }

    /// Returns what nobody needs, in groups of which only the whole gives bytes back, in the order in which they go.
    fn units(&self, users: &[usize]) -> Vec<Vec<usize>> {
        let nodes = &self.inventory.nodes;
        let mut groups: HashMap<Vec<usize>, Vec<usize>> = HashMap::new();
        let mut alone = Vec::new();
        for index in (0..nodes.len()).filter(|index| self.free[*index] && users[*index] == 0) {
            let is_result =
                matches!(nodes[index].part, Part::Record(RecordKind::Step | RecordKind::Chain));
            let layers = nodes[index].needs.iter().copied();
            let layers: Vec<_> = layers.filter(|at| nodes[*at].part == Part::Snapshot).collect();
            match is_result && !layers.is_empty() {
                true => groups.entry(layers).or_default().push(index),
                false => alone.push(vec![index]),
            }
        }
        let mut units: Vec<_> = groups.into_values().chain(alone).collect();
        units.sort();
        let scores = self.scores(&units);
        let mut order: Vec<_> = scores.into_iter().zip(units).collect();
        order.sort_by(|((a, depth_a), _), ((b, depth_b), _)| {
            b.total_cmp(a).then(depth_b.cmp(depth_a))
        });
        order.into_iter().map(|(_, unit)| unit).collect()
    }

    /// Returns how much each unit is in the way, and upon how many steps it was done: the highest goes first.
    fn scores(&self, units: &[Vec<usize>]) -> Vec<(f64, usize)> {
        let nodes = &self.inventory.nodes;
        let now = SystemTime::now();
        let mut scores: Vec<f64> = units.iter().map(|unit| self.score(unit, now)).collect();
        let of_place: HashMap<&str, usize> = (units.iter().enumerate())
            .flat_map(|(at, unit)| unit.iter().map(move |index| (*index, at)))
            .map(|(index, at)| (nodes[index].place.as_str(), at))
            .collect();
        let base = |at: usize| {
            let base = units[at].iter().find_map(|index| nodes[*index].cost.base.as_deref())?;
            of_place.get(base).copied().filter(|base| *base != at)
        };
        // From the one that stays longest: whatever it was done upon stays as long.
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        for at in order {
            let mut below = base(at);
            while let Some(next) = below.filter(|next| scores[*next] > scores[at]) {
                scores[next] = scores[at];
                below = base(next);
            }
        }
        // A record that was tampered with could lie upon itself.
        let depth = |at| std::iter::successors(base(at), |at| base(*at)).take(units.len()).count();
        scores.into_iter().enumerate().map(|(at, score)| (score, depth(at))).collect()
    }

    fn score(&self, unit: &[usize], now: SystemTime) -> f64 {
        let nodes = &self.inventory.nodes;
        let of_unit = |index: &usize| &nodes[*index];
        let used = unit.iter().map(|index| of_unit(index).used).max();
        let age = used.and_then(|used| now.duration_since(used).ok()).unwrap_or_default();
        let took = unit.iter().filter_map(|index| of_unit(index).cost.took).max();
        let size = self.size(unit);
        let rate = took.map_or(USUAL_RATE, |took| size as f64 / (took as f64).max(1.0));
        // A second, so that what was used at the same time is told apart by what it costs.
        (age.as_secs_f64() + 1.0) * rate.clamp(SLOWEST, FASTEST)
    }
}

impl Plan<'_> {
    /// Returns what a unit takes with all that it needs and that can go.
    fn size(&self, unit: &[usize]) -> u64 {
        let (mut open, mut seen) = (unit.to_vec(), BTreeSet::new());
        while let Some(index) = open.pop() {
            if self.free[index] && seen.insert(index) {
                open.extend(&self.inventory.nodes[index].needs);
            }
        }
        seen.into_iter().map(|index| self.inventory.nodes[index].size).sum()
    }
}

/// Returns what has to do with tagged images without being needed by them: steps that made their layers, these
/// compressed, and what only speeds building up and takes little.
fn related(inventory: &Inventory, tagged: &[bool]) -> Vec<bool> {
    let nodes = &inventory.nodes;
    let diff_ids: BTreeSet<&str> = (0..nodes.len())
        .filter(|index| tagged[*index] && nodes[*index].part == Part::Snapshot)
        .filter_map(|index| nodes[index].diff_id.as_deref())
        .collect();
    let is_young = |node: &Node| node.used.elapsed().map_or(true, |age| age < MEMORY);
    let is_related = |node: &Node| match node.part {
        Part::Record(RecordKind::Step) => {
            let mut layers =
                node.needs.iter().filter(|at| nodes[**at].part == Part::Snapshot).peekable();
            layers.peek().is_some() && layers.all(|at| tagged[*at])
        }
        Part::Record(RecordKind::Blob) => {
            let diff_id = node.name().split('-').next().unwrap_or_default();
            node.kind == Kind::Compressed && diff_ids.contains(diff_id)
        }
        Part::Record(RecordKind::Context | RecordKind::Selection | RecordKind::Build) => {
            is_young(node)
        }
        Part::Mount => true,
        Part::Record(RecordKind::Tag | RecordKind::Image | RecordKind::Chain)
        | Part::Blob
        | Part::Snapshot
        | Part::Mark => false,
    };
    nodes.iter().map(is_related).collect()
}
