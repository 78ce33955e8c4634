//! The timer wheel: eleven levels, each with 64 slots.
//!
//! Times are nanoseconds, read as numbers of eleven digits to the base of 64. A time after `now`
//! differs from it in some digits. The highest of these is its *level*, and its digit there is its
//! *slot*. So a slot of level 0 holds one time, one of level 1 holds 64, and so on, and everything
//! in a lower level is due before everything in a higher one.
//!
//! An insertion pushes an entry to its slot. A removal replaces the entry by the last one of its
//! slot. The cost of neither depends on the number of timers. When `now` advances, the entries that
//! it passes are due, and are sorted then, once. The slot that `now` enters is distributed to the
//! levels below, which happens to an entry at most ten times.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::mem;

/// The due time of an entry, and its number, by which entries with the same due time differ.
pub(super) type Key = (u64, u64);

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// The number of digits of a `u64`.
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;
/// The largest slot that is searched for its first entry. A slot with more entries frees its memory
/// when it is emptied.
const MANY: usize = 64;
/// The number of entries whose memory is read at once.
const AHEAD: usize = 8;

/// An entry of a wheel.
pub(super) trait Item {
    /// Returns the cell in which the wheel stores the position of the entry.
    fn place(&self) -> &Cell<Place>;

    /// Returns `true` if the entry waits for this key. An entry that is due and does not wait is
    /// skipped.
    fn waits_for(&self, key: Key) -> bool;
}

#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    level: u8,
    slot: u8,
    index: u32,
}

struct Entry<T> {
    key: Key,
    item: T,
}

struct Level<T> {
    /// A bit for each slot, set if the slot has entries.
    occupied: u64,
    /// Empty, or all slots.
    slots: Vec<Vec<Entry<T>>>,
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Level { occupied: 0, slots: Vec::new() }
    }
}

impl<T> Level<T> {
    /// Moves all entries of a slot.
    fn empty(&mut self, slot: usize, to: &mut Vec<Entry<T>>) {
        let mut entries = self.take(slot);
        to.append(&mut entries);
        self.recycle(slot, entries);
    }

    fn take(&mut self, slot: usize) -> Vec<Entry<T>> {
        self.occupied &= !(1 << slot);
        mem::take(&mut self.slots[slot])
    }

    /// Returns the memory of an emptied slot to that slot, unless the memory is large.
    fn recycle(&mut self, slot: usize, entries: Vec<Entry<T>>) {
        debug_assert!(self.slots[slot].is_empty());
        if entries.capacity() <= MANY {
            self.slots[slot] = entries;
        }
    }

    /// Returns the first slot that has entries.
    fn first(&self) -> Option<usize> {
        (self.occupied != 0).then(|| self.occupied.trailing_zeros() as usize)
    }
}

pub(super) struct Wheel<T> {
    now: u64,
    levels: [Level<T>; LEVELS],
    /// Entries that are due, sorted. Some of them may not wait any more.
    due: VecDeque<Entry<T>>,
    /// Entries that were inserted when already due, and out of order.
    late: BTreeMap<Key, T>,
    /// Empty between two calls: reused memory for the entries that `now` passes.
    passed: Vec<Entry<T>>,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Wheel { now: 0, levels: Default::default(), due: VecDeque::new(), late: BTreeMap::new(), passed: Vec::new() }
    }
}

#[inline]
fn digit(moment: u64, level: usize) -> usize {
    (moment >> (BITS * level as u32)) as usize & (SLOTS - 1)
}

/// Returns the highest digit in which two times differ.
#[inline]
fn level(one: u64, other: u64) -> usize {
    (((one ^ other) | 1).ilog2() / BITS) as usize
}

impl<T: Item> Wheel<T> {
    pub(super) fn insert(&mut self, key: Key, item: T) {
        if key.0 > self.now {
            self.put(Entry { key, item });
        } else if self.due.back().is_none_or(|last| last.key < key) {
            self.due.push_back(Entry { key, item });
        } else {
            self.late.insert(key, item);
        }
    }

    /// Inserts an entry that is not due.
    fn put(&mut self, entry: Entry<T>) {
        let number = level(entry.key.0, self.now);
        let slot = digit(entry.key.0, number);
        let level = &mut self.levels[number];
        if level.slots.is_empty() {
            level.slots.resize_with(SLOTS, Vec::new);
        }
        level.occupied |= 1 << slot;
        let entries = &mut level.slots[slot];
        entry.item.place().set(Place { level: number as u8, slot: slot as u8, index: entries.len() as u32 });
        entries.push(entry);
    }

    /// Takes back what was inserted with this key, and does not wait for it any more. None if that
    /// is due already and came in order: it stays, and is passed over.
    pub(super) fn remove(&mut self, key: Key, place: Place) -> Option<T> {
        if key.0 <= self.now {
            return self.late.remove(&key);
        }
        let level = &mut self.levels[usize::from(place.level)];
        let entries = &mut level.slots[usize::from(place.slot)];
        let removed = entries.swap_remove(place.index as usize);
        debug_assert!(removed.key == key, "the entry at the index of a key has that key");
        match entries.get(place.index as usize) {
            Some(moved) => moved.item.place().set(place),
            None if entries.is_empty() => level.occupied &= !(1 << place.slot),
            None => {}
        }
        Some(removed.item)
    }

    /// Removes and returns the first entry, if it is due at `now` and has a number below `made`.
    pub(super) fn pop(&mut self, now: u64, made: u64) -> Option<T> {
        self.advance(now);
        if self.late.is_empty() {
            return self.pop_in_order(now, made);
        }
        let (due, number) = self.first_due()?;
        if due > now || number >= made {
            return None;
        }
        if self.late.first_key_value().is_some_and(|(key, _)| *key == (due, number)) {
            return self.late.pop_first().map(|(_, item)| item);
        }
        self.due.pop_front().map(|entry| entry.item)
    }

    /// Like [`pop`](Self::pop), if no entry is late.
    #[inline]
    fn pop_in_order(&mut self, now: u64, made: u64) -> Option<T> {
        if self.due.len() >= MANY && self.due.len() % AHEAD == 0 {
            self.load_ahead();
        }
        loop {
            let first = self.due.front()?;
            let waits = first.item.waits_for(first.key);
            if waits && (first.key.0 > now || first.key.1 >= made) {
                return None;
            }
            let popped = self.due.pop_front();
            if waits {
                return popped.map(|entry| entry.item);
            }
        }
    }

    /// Reads the memory of the next entries, so that their cache misses overlap: entries that are
    /// created in one order and due in another are in no cache.
    #[cold]
    #[inline(never)]
    fn load_ahead(&self) {
        for entry in self.due.iter().take(AHEAD) {
            black_box(entry.item.place().get());
        }
    }

    /// Returns the key of the first due entry. Drops the entries before it that do not wait any
    /// more.
    fn first_due(&mut self) -> Option<Key> {
        while self.due.front().is_some_and(|entry| !entry.item.waits_for(entry.key)) {
            self.due.pop_front();
        }
        let (due, late) = (self.due.front().map(|entry| entry.key), self.late.first_key_value().map(|(key, _)| *key));
        due.into_iter().chain(late).min()
    }

    fn advance(&mut self, now: u64) {
        if now <= self.now {
            return;
        }
        let top = level(now, self.now);
        let reached = digit(now, top);
        self.now = now;
        let mut passed = mem::take(&mut self.passed);
        for level in &mut self.levels[..top] {
            while let Some(slot) = level.first() {
                level.empty(slot, &mut passed);
            }
        }
        while let Some(slot) = self.levels[top].first().filter(|slot| *slot < reached) {
            self.levels[top].empty(slot, &mut passed);
        }
        if self.levels[top].first() == Some(reached) {
            // The remaining entries go to lower levels, so the slot's own memory can be iterated.
            let mut entries = self.levels[top].take(reached);
            for entry in entries.drain(..) {
                if entry.key.0 <= now {
                    passed.push(entry);
                } else {
                    self.put(entry);
                }
            }
            self.levels[top].recycle(reached, entries);
        }
        passed.sort_unstable_by_key(|entry| entry.key);
        self.due.extend(passed.drain(..));
        if passed.capacity() <= MANY {
            self.passed = passed;
        }
    }

    /// Returns the due time of the first entry. If the first slot is too large to search, returns a
    /// time that is not after that.
    pub(super) fn next(&mut self) -> Option<u64> {
        if let Some((due, _)) = self.first_due() {
            return Some(due);
        }
        let number = self.levels.iter().position(|level| level.occupied != 0)?;
        let slot = self.levels[number].first()?;
        let entries = &self.levels[number].slots[slot];
        if entries.len() <= MANY {
            return entries.iter().map(|entry| entry.key.0).min();
        }
        let shift = BITS * number as u32;
        let above = self.now.checked_shr(shift + BITS).unwrap_or(0).checked_shl(shift + BITS).unwrap_or(0);
        Some(above | (slot as u64) << shift)
    }

    /// Removes and returns all waiting entries, in order.
    pub(super) fn take(&mut self) -> Vec<T> {
        let due = mem::take(&mut self.due).into_iter().filter(|entry| entry.item.waits_for(entry.key));
        let late = mem::take(&mut self.late).into_iter().map(|(key, item)| Entry { key, item });
        let mut entries: Vec<_> = due.chain(late).collect();
        for level in &mut self.levels {
            level.occupied = 0;
            entries.extend(mem::take(&mut level.slots).into_iter().flatten());
        }
        entries.sort_unstable_by_key(|entry| entry.key);
        entries.into_iter().map(|entry| entry.item).collect()
    }

    /// Returns all waiting entries, in order.
    pub(super) fn all(&self) -> Vec<&T> {
        let due = self.due.iter().filter(|entry| entry.item.waits_for(entry.key));
        let rest = self.levels.iter().flat_map(|level| &level.slots).flatten();
        let mut entries: Vec<_> = due.chain(rest).map(|entry| (entry.key, &entry.item)).collect();
        entries.extend(self.late.iter().map(|(key, item)| (*key, item)));
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries.into_iter().map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use super::*;

    struct Thing {
        place: Cell<Place>,
        waits_for: Cell<Option<Key>>,
    }

    impl Item for Rc<Thing> {
        fn place(&self) -> &Cell<Place> {
            &self.place
        }

        fn waits_for(&self, key: Key) -> bool {
            self.waits_for.get() == Some(key)
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }

        /// Returns a number of random magnitude.
        fn distance(&mut self, magnitudes: u64) -> u64 {
            let magnitude = self.below(magnitudes);
            self.below(2 << magnitude)
        }
    }

    /// The wheel, and a sorted map with the same entries.
    #[derive(Default)]
    struct Both {
        wheel: Wheel<Rc<Thing>>,
        map: BTreeMap<Key, Rc<Thing>>,
        made: u64,
        now: u64,
    }

    impl Both {
        fn insert(&mut self, due: u64) {
            let key = (due, self.made);
            self.made += 1;
            let thing = Rc::new(Thing { place: Cell::default(), waits_for: Cell::new(Some(key)) });
            self.wheel.insert(key, thing.clone());
            self.map.insert(key, thing);
        }

        fn remove(&mut self, random: &mut Random) {
            let index = random.below(self.map.len().max(1) as u64) as usize;
            let Some(key) = self.map.keys().nth(index).copied() else { return };
            let thing = self.map.remove(&key).unwrap();
            thing.waits_for.set(None);
            self.wheel.remove(key, thing.place.get());
        }

        fn pop(&mut self, made: u64) -> bool {
            let first = self.map.first_entry().filter(|first| first.key().0 <= self.now && first.key().1 < made);
            let expected = first.map(|first| first.remove());
            let popped = self.wheel.pop(self.now, made);
            assert_eq!(popped.as_ref().map(|thing| thing.waits_for.get()), expected.map(|thing| thing.waits_for.get()));
            popped.is_some()
        }

        fn check(&mut self) {
            let first = self.map.first_key_value().map(|(key, _)| key.0);
            let next = self.wheel.next();
            assert!(next <= first && next.is_some() == first.is_some());
            if self.map.len() <= MANY {
                assert_eq!(next, first);
            } else if next < first && next > Some(self.now) {
                // The wake-up is useful: there are fewer entries to search then.
                self.now = next.unwrap();
                assert!(!self.pop(u64::MAX));
            }
            let all: Vec<_> = self.wheel.all().into_iter().map(|thing| thing.waits_for.get()).collect();
            assert!(all.into_iter().eq(self.map.keys().map(|key| Some(*key))));
        }
    }

    #[test]
    fn the_order_is_that_of_a_sorted_map() {
        for seed in 1..=200 {
            let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
            let mut both = Both::default();
            // With some seeds the times are close together, so that slots fill up; with others they
            // are far apart.
            let magnitudes = 1 + random.below(62);
            for _ in 0..300 {
                match random.below(10) {
                    0..=4 => {
                        let due = both.now.saturating_add(random.distance(magnitudes));
                        both.insert(due);
                    }
                    5 => {
                        // Overdue, as a `delay` of a due timer can leave it.
                        let due = both.now.saturating_sub(random.distance(magnitudes));
                        both.insert(due);
                    }
                    6 => both.remove(&mut random),
                    7 => both.now = both.now.saturating_add(random.distance(magnitudes)),
                    8 => {
                        let made = random.below(both.made + 1);
                        both.pop(made);
                    }
                    _ => while random.below(8) > 0 && both.pop(u64::MAX) {},
                }
                both.check();
            }
            both.now = u64::MAX;
            while both.pop(u64::MAX) {}
            assert!(both.map.is_empty() && both.wheel.take().is_empty());
        }
    }

    #[test]
    fn next_is_never_late_and_rarely_early_for_a_large_slot() {
        for magnitude in 0..62 {
            for begins in [0, 1, 1 << magnitude, 0x0123_4567_89ab_cdef] {
                let mut random = Random(1 + magnitude);
                let mut both = Both { now: begins, ..Both::default() };
                assert!(!both.pop(u64::MAX));
                for _ in 0..3 * MANY {
                    both.insert(begins + (1 << magnitude) + random.below(1 << magnitude));
                }
                let mut sleeps = 0;
                while let Some(next) = both.wheel.next() {
                    let first = both.map.first_key_value().unwrap().0.0;
                    assert!(both.now < next && next <= first, "{} < {next} <= {first}", both.now);
                    both.now = next;
                    while both.pop(u64::MAX) {}
                    sleeps += 1;
                }
                assert!(both.map.is_empty() && sleeps <= 3 * MANY + LEVELS, "{sleeps}");
            }
        }
    }

    #[test]
    fn take_returns_the_entries_in_order() {
        let mut both = Both::default();
        let mut random = Random(7);
        both.now = 1 << 20;
        both.wheel.pop(both.now, 0);
        for _ in 0..1000 {
            both.insert(random.distance(40));
        }
        both.remove(&mut random);
        let taken: Vec<_> = both.wheel.take().into_iter().map(|thing| thing.waits_for.get().unwrap()).collect();
        assert_eq!(taken, both.map.into_keys().collect::<Vec<_>>());
        assert_eq!(both.wheel.next(), None);
    }
}
