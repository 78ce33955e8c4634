//! The text of [`Pending`]: a tree, in which each item stands above those for which it waits.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::{Kind, Pending};

/// The depth from which a tree is cut short.
const MAX_DEPTH: usize = 12;

/// The number of different details that are shown of equal items.
const DETAILS: usize = 3;

/// Prints a line for each item, or for several that are equal except for their age.
impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_counts(f)?;
        let mut printer = Printer { pending: self, classes: self.classes(), printed: HashSet::new() };
        for circle in &self.graph.circles {
            f.write_str("\n\ncircle: each of these waits for the next one, and the last one for the first")?;
            printer.printed.extend(circle);
            circle.iter().try_for_each(|item| printer.write_line(&[*item], 1, f))?;
        }
        let roots = self.graph.roots.iter().filter(|root| !self.graph.in_circle[**root]);
        let groups = printer.by_class(roots.copied());
        if !groups.is_empty() {
            f.write_str("\n")?;
        }
        groups.iter().try_for_each(|group| printer.write_tree(group, 0, f))?;
        // Items for which a circle waits, and which are not in it.
        let besides = self.graph.circles.iter().flatten().flat_map(|item| &self.items[*item].waits_for);
        let besides = besides.filter(|target| !printer.printed.contains(*target)).copied().collect::<Vec<_>>();
        printer.by_class(besides.into_iter()).iter().try_for_each(|group| printer.write_tree(group, 0, f))
    }
}

impl Pending {
    /// Writes how many items of each kind there are.
    fn write_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing is pending");
        }
        let mut counts: Vec<(Kind, usize)> = Vec::new();
        for item in &self.items {
            match counts.iter_mut().find(|(kind, _)| *kind == item.kind) {
                Some((_, count)) => *count += 1,
                None => counts.push((item.kind, 1)),
            }
        }
        write!(f, "{} pending", self.items.len())?;
        for (n, (kind, count)) in counts.into_iter().enumerate() {
            let s = if count == 1 { "" } else { "s" };
            write!(f, "{} {count} {kind}{s}", if n > 0 { "," } else { ":" })?;
        }
        Ok(())
    }

    /// Returns the class of each item. Items of one class are equal, except for their ages and
    /// details, and so is all they wait for.
    fn classes(&self) -> Vec<usize> {
        let mut classes = vec![0; self.items.len()];
        let mut known = HashMap::new();
        // In this order an item comes after those for which it waits, except in a circle, whose
        // items are all different.
        for &index in &self.graph.order {
            let item = &self.items[index];
            let alone = self.graph.in_circle[index].then_some(index);
            let mut targets: Vec<_> = if alone.is_some() { Vec::new() } else { item.waits_for.clone() };
            targets.iter_mut().for_each(|target| *target = classes[*target]);
            targets.sort_unstable();
            let next = known.len();
            classes[index] =
                *known.entry((item.kind, item.made_at, item.last_added_at, alone, targets)).or_insert(next);
        }
        classes
    }
}

struct Printer<'a> {
    pending: &'a Pending,
    classes: Vec<usize>,
    /// The items that are in the text already.
    printed: HashSet<usize>,
}

impl Printer<'_> {
    /// Groups items by their class, in the order in which the classes first appear.
    fn by_class(&self, items: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut places = HashMap::new();
        let mut seen = HashSet::new();
        for item in items.filter(|item| seen.insert(*item)) {
            let place = *places.entry(self.classes[item]).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[place].push(item);
        }
        groups
    }

    /// Writes a group of equal items, and below it what they wait for.
    fn write_tree(&mut self, group: &[usize], depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The groups that are left to write, the next one last.
        let mut left = vec![(group.to_vec(), depth)];
        while let Some((group, depth)) = left.pop() {
            self.write_line(&group, depth, f)?;
            if group.iter().all(|item| self.printed.contains(item)) {
                f.write_str(", as above")?;
                continue;
            }
            self.printed.extend(&group);
            let targets = group.iter().flat_map(|item| &self.pending.items[*item].waits_for).copied();
            let mut targets = self.by_class(targets);
            if depth == MAX_DEPTH && !targets.is_empty() {
                targets = self.skip(targets, depth, f)?;
            }
            left.extend(targets.into_iter().rev().map(|group| (group, depth + 1)));
        }
        Ok(())
    }

    /// Leaves out what is between these groups and those that wait for nothing. Returns the latter.
    fn skip(
        &mut self,
        groups: Vec<Vec<usize>>,
        depth: usize,
        f: &mut fmt::Formatter<'_>,
    ) -> Result<Vec<Vec<usize>>, fmt::Error> {
        let mut left: Vec<usize> = groups.into_iter().flatten().collect();
        let (mut ends, mut skipped) = (Vec::new(), 0);
        while let Some(item) = left.pop() {
            let targets = &self.pending.items[item].waits_for;
            if targets.is_empty() || self.printed.contains(&item) {
                ends.push(item);
            } else {
                self.printed.insert(item);
                skipped += 1;
                left.extend(targets);
            }
        }
        if skipped > 0 {
            write!(f, "\n{:indent$}{skipped} more, down to:", "", indent = 4 * (depth + 1))?;
        }
        ends.reverse();
        Ok(self.by_class(ends.into_iter()))
    }

    /// Writes the line of a group of equal items.
    fn write_line(&self, group: &[usize], depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = &self.pending.items[group[0]];
        write!(f, "\n{:indent$}", "", indent = 4 * depth)?;
        if group.len() > 1 {
            write!(f, "{} like this: ", group.len())?;
        }
        write!(f, "{} made at {}", item.kind, item.made_at)?;
        if let Some(last) = item.last_added_at {
            write!(f, ", last callback added at {last}")?;
        }
        let ages = group.iter().filter_map(|item| self.pending.items[*item].age);
        let ages = (ages.clone().min(), ages.max());
        match ages {
            (Some(youngest), Some(oldest)) if shown(youngest) != shown(oldest) => {
                write!(f, ", {} to {} old", shown(youngest), shown(oldest))?;
            }
            (_, Some(age)) => write!(f, ", {} old", shown(age))?,
            _ => {}
        }
        // The details of equal items may differ; a few are shown.
        let details = group.iter().map(|item| &*self.pending.items[*item].details);
        let details: BTreeSet<_> = details.filter(|text| !text.is_empty()).collect();
        details.iter().take(DETAILS).try_for_each(|text| write!(f, ", {text}"))?;
        if details.len() > DETAILS { f.write_str(", …") } else { Ok(()) }
    }
}

fn shown(age: Duration) -> String {
    format!("{age:.1?}")
}
