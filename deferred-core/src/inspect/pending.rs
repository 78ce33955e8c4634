//! `Pending`: the list of what is pending.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::describe::{self, COROUTINE};
use super::graph::Graph;
use crate::engine::Handle;
use crate::engine::registered::{self, RegisteredBlock, Waits};
use crate::error::CallSite;
use crate::instant::Instant;

/// A list of what was pending at one moment. [`Reactor::pending`](crate::Reactor::pending) returns
/// it.
///
/// It prints as a tree: first the circles, then each item for which nothing waits, and below it
/// what it waits for. Items that are equal, except for their age, are counted. The values are a
/// copy, and can be sent to other threads.
#[derive(Clone)]
pub struct Pending {
    pub(super) items: Vec<PendingItem>,
    pub(super) graph: Graph,
}

/// An entry of [`Pending`].
#[derive(Clone, Debug)]
pub struct PendingItem {
    pub(super) kind: Kind,
    pub(super) made_at: CallSite,
    pub(super) last_added_at: Option<CallSite>,
    pub(super) age: Option<Duration>,
    pub(super) details: String,
    pub(super) waits_for: Vec<usize>,
}

/// The kind of an entry of [`Pending`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A Deferred of which nothing more is known.
    #[default]
    Deferred,
    /// A coroutine.
    Coroutine,
    /// A function that waits for several Deferreds, such as [`gather`](crate::gather).
    Group,
    /// A call that a timer will make.
    Timer,
    /// A waiter of a lock, a semaphore, a queue or a gate.
    Waiter,
    /// A job of a thread pool.
    Job,
    /// A network connection.
    Connection,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Deferred => "Deferred",
            Kind::Coroutine => "coroutine",
            Kind::Group => "group",
            Kind::Timer => "timer",
            Kind::Waiter => "waiter",
            Kind::Job => "job",
            Kind::Connection => "connection",
        })
    }
}

impl PendingItem {
    /// Creates the entry of a timer.
    pub(crate) fn timer(made_at: CallSite, due_in: Duration) -> PendingItem {
        let details = format!("due in {due_in:.1?}");
        PendingItem { kind: Kind::Timer, made_at, last_added_at: None, age: None, details, waits_for: Vec::new() }
    }

    /// Returns the kind of the entry.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the location where it was made: the call of `Deferred::new`, `inline_callbacks`,
    /// `gather`, `call_later` and so on.
    #[must_use]
    pub fn made_at(&self) -> &'static Location<'static> {
        self.made_at
    }

    /// Returns the location where the last callback was added. `None` if there is none.
    #[must_use]
    pub fn last_added_at(&self) -> Option<&'static Location<'static>> {
        self.last_added_at
    }

    /// Returns the time since it was made. `None` if that is not known: for timers, and for
    /// Deferreds from before inspection was on.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// Returns further details, such as `not fired`.
    #[must_use]
    pub fn details(&self) -> &str {
        &self.details
    }

    /// Returns the indices of the items for which it waits.
    #[must_use]
    pub fn waits_for(&self) -> &[usize] {
        &self.waits_for
    }
}

impl Pending {
    /// Lists the pending Deferreds of this thread.
    pub(crate) fn collect() -> Pending {
        let mut found = Found::default();
        for RegisteredBlock { block, since, tag } in registered::blocks() {
            if block.waits() != Waits::Nothing {
                found.add(block, Some(since), tag);
            }
        }
        Pending::of(found.into_items())
    }

    fn of(items: Vec<PendingItem>) -> Pending {
        let graph = Graph::new(&items);
        Pending { items, graph }
    }

    /// Adds items that wait for nothing that is listed.
    pub(crate) fn with(mut self, others: impl Iterator<Item = PendingItem>) -> Pending {
        self.items.extend(others);
        Pending::of(self.items)
    }

    /// Returns the items, the oldest first.
    #[must_use]
    pub fn items(&self) -> &[PendingItem] {
        &self.items
    }

    /// Returns the circles: each is a list of items, by their indices, that wait for each other.
    /// Unless one of them is fired or cancelled from outside, they wait forever.
    #[must_use]
    pub fn circles(&self) -> &[Vec<usize>] {
        &self.graph.circles
    }

    /// Returns `true` if nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("items", &self.items).finish_non_exhaustive()
    }
}

/// The blocks of a list, while it is made.
#[derive(Default)]
struct Found {
    /// Each with the time of its creation, if that is known, and its tag.
    blocks: Vec<(Handle, Option<Instant>, u8)>,
    /// The indices of the blocks, by their numbers.
    indices: HashMap<usize, usize>,
}

impl Found {
    /// Returns the index of a block, and adds it if it is new.
    fn add(&mut self, block: Handle, since: Option<Instant>, tag: u8) -> usize {
        let next = self.blocks.len();
        let index = *self.indices.entry(block.id()).or_insert(next);
        if index == next {
            self.blocks.push((block, since, tag));
        }
        index
    }

    fn into_items(mut self) -> Vec<PendingItem> {
        let now = Instant::now();
        let mut items: Vec<PendingItem> = Vec::new();
        // The coroutines, by the numbers of their blocks, and the block for which each waits.
        let mut coroutines = Vec::new();
        // The blocks for which a block waits are added behind it.
        while let Some((block, since, tag)) = self.blocks.get(items.len()).cloned() {
            let mut description = describe::description(&block);
            if tag == COROUTINE && description.kind == Kind::Deferred {
                description.kind = Kind::Coroutine;
            }
            let targets = block.inner().into_iter().chain(block.forwarded()).chain(description.waits_for);
            let waits_for = targets.filter(|target| target.waits() != Waits::Nothing);
            let waits_for = waits_for.map(|target| self.add(target, None, 0)).collect();
            if let Some(own) = block.waiting_coroutine() {
                coroutines.push((own, items.len()));
            }
            let (made_at, last) = block.locations();
            let state = match block.waits() {
                Waits::Unfired if description.kind == Kind::Deferred && description.details.is_empty() => "not fired",
                Waits::Paused => "paused",
                _ => "",
            };
            let details = [state, &description.details].into_iter().filter(|text| !text.is_empty());
            items.push(PendingItem {
                kind: description.kind,
                made_at,
                last_added_at: (last != made_at).then_some(last),
                age: since.map(|since| now.saturating_duration_since(since)),
                details: details.collect::<Vec<_>>().join(", "),
                waits_for,
            });
        }
        for (own, awaited) in coroutines {
            if let Some(index) = self.indices.get(&own) {
                items[*index].waits_for.push(awaited);
            }
        }
        for item in items.iter_mut().filter(|item| item.kind == Kind::Coroutine && item.waits_for.is_empty()) {
            item.details = "runs, or awaits something other than a Deferred".to_owned();
        }
        items
    }
}
