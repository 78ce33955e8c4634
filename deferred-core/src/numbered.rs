//! `Numbered`: a queue from which any entry can be removed by its number.

use std::collections::VecDeque;

/// A queue of entries with ascending numbers. Each operation takes O(log n) on average.
///
/// A removed entry leaves a hole. The first and the last place are never holes, and after a removal
/// there are never more holes than entries.
pub(crate) struct Numbered<X> {
    places: VecDeque<(u64, Option<X>)>,
    holes: usize,
}

impl<X> Numbered<X> {
    pub(crate) const fn new() -> Self {
        Numbered { places: VecDeque::new(), holes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.holes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Appends an entry, whose number is greater than all before it.
    pub(crate) fn push(&mut self, number: u64, entry: X) {
        debug_assert!(self.places.back().is_none_or(|(last, _)| *last < number));
        self.places.push_back((number, Some(entry)));
    }

    pub(crate) fn first(&self) -> Option<&X> {
        self.places.front()?.1.as_ref()
    }

    pub(crate) fn last(&self) -> Option<(u64, &X)> {
        let (number, last) = self.places.back()?;
        Some((*number, last.as_ref()?))
    }

    /// Returns the entries with their numbers, the last one first.
    pub(crate) fn iter_back(&self) -> impl Iterator<Item = (u64, &X)> {
        self.places.iter().rev().filter_map(|(number, place)| Some((*number, place.as_ref()?)))
    }

    /// Removes the first entry.
    pub(crate) fn pop(&mut self) -> Option<X> {
        self.pop_if(|_| true)
    }

    /// Removes the first entry, if `fits` returns `true` for it.
    #[inline]
    pub(crate) fn pop_if(&mut self, fits: impl FnOnce(&X) -> bool) -> Option<X> {
        if !fits(self.first()?) {
            return None;
        }
        let (_, first) = self.places.pop_front()?;
        if self.holes > 0 {
            self.skip_holes();
        }
        first
    }

    /// Removes the entry with this number.
    pub(crate) fn remove(&mut self, number: u64) -> Option<X> {
        // Guards are usually dropped in the reverse order.
        if self.places.back()?.0 == number {
            let (_, removed) = self.places.pop_back()?;
            self.skip_last_holes();
            return removed;
        }
        let index = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let removed = self.places[index].1.take()?;
        self.holes += 1;
        if self.holes > self.places.len() / 2 {
            self.places.retain(|(_, place)| place.is_some());
            self.holes = 0;
        }
        self.skip_holes();
        Some(removed)
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = X> {
        self.places.into_iter().filter_map(|(_, place)| place)
    }

    #[cold]
    fn skip_holes(&mut self) {
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
            self.holes -= 1;
        }
    }

    fn skip_last_holes(&mut self) {
        while let Some((_, None)) = self.places.back() {
            self.places.pop_back();
            self.holes -= 1;
        }
    }
}

impl<X> Default for Numbered<X> {
    fn default() -> Self {
        Numbered::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn behaves_like_a_map() {
        let (mut random, mut number) = (0x2545_f491_4f6c_dd1d_u64, 0);
        let (mut numbered, mut map) = (Numbered::new(), BTreeMap::new());
        for round in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match random % if round < 10_000 { 5 } else { 4 } {
                0 => assert_eq!(numbered.pop(), map.pop_first().map(|(_, entry)| entry)),
                1 | 2 => {
                    let any = random >> 8;
                    let key = map.keys().nth(any as usize % (map.len() + 1)).copied().unwrap_or(any);
                    assert_eq!(numbered.remove(key), map.remove(&key));
                }
                _ => {
                    number += 1 + (random >> 60);
                    numbered.push(number, random);
                    map.insert(number, random);
                }
            }
            assert_eq!((numbered.len(), numbered.is_empty()), (map.len(), map.is_empty()));
            assert_eq!(numbered.first(), map.values().next());
            assert_eq!(numbered.last(), map.last_key_value().map(|(number, entry)| (*number, entry)));
            assert!(numbered.holes <= numbered.places.len());
        }
        assert!(!map.is_empty());
        assert!(numbered.into_entries().eq(map.into_values()));
    }

    #[test]
    fn after_a_removal_from_the_middle_at_most_half_are_holes() {
        for pops in [0, 300] {
            let mut numbered = Numbered::new();
            (0..1000).for_each(|number| numbered.push(number, number));
            for number in 500..999 {
                if number == 900 {
                    (0..pops).for_each(|number| assert_eq!(numbered.pop(), Some(number)));
                }
                assert_eq!(numbered.remove(number), Some(number));
                assert!(2 * numbered.holes <= numbered.places.len(), "{} of {}", numbered.holes, numbered.places.len());
            }
        }
    }
}
