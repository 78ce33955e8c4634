//! `Trail`: the places that an error passed.

use std::fmt;
use std::panic::Location;

/// A location in the source: where a Deferred was created, or a callback was added.
pub(crate) type CallSite = &'static Location<'static>;

/// The number of places that are kept from each end of a trail.
const END: usize = 16;

/// The source locations that an error passed, oldest first.
///
/// Each place is a line where a callback was added, so a trail reads like a traceback of the
/// callbacks. Trails are recorded in release builds too, and cost nothing until there is an error.
/// Of a long trail, the first 16 and the last 16 places are kept, and the number of those between.
/// An empty trail allocates nothing; the first place allocates once, and later ones allocate
/// nothing.
///
/// [`Failure::trail`](crate::Failure::trail) returns the trail of a failure. An error type of your
/// own can have one too; see [`DeferredError::trail`](crate::DeferredError::trail).
///
/// # Examples
///
/// ```
/// use std::panic::Location;
///
/// use deferred_core::Trail;
///
/// let mut trail = Trail::new();
/// for _ in 0..1000 {
///     trail.push(Location::caller());
/// }
/// assert_eq!(trail.total(), 1000);
/// assert_eq!(trail.omitted(), 968);
/// assert!(trail.iter().all(|place| place.file() == file!()));
/// assert!(trail.to_string().contains("… 968 more …"));
/// ```
#[derive(Clone, Default)]
pub struct Trail {
    /// `None` until the first place, so that an error without places allocates nothing for its
    /// trail.
    kept: Option<Box<Kept>>,
}

#[derive(Clone)]
struct Kept {
    total: usize,
    /// The first places, followed by a ring of the last ones.
    places: [CallSite; 2 * END],
}

impl Trail {
    /// Creates an empty trail.
    #[must_use]
    pub const fn new() -> Trail {
        Trail { kept: None }
    }

    /// Appends a place.
    #[inline]
    pub fn push(&mut self, at: &'static Location<'static>) {
        match &mut self.kept {
            Some(kept) => {
                kept.places[slot(kept.total)] = at;
                kept.total += 1;
            }
            None => self.begin(at),
        }
    }

    #[cold]
    fn begin(&mut self, at: CallSite) {
        self.kept = Some(Box::new(Kept { total: 1, places: [at; 2 * END] }));
    }

    /// Returns the number of places, including the omitted ones.
    #[must_use]
    pub fn total(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.total)
    }

    /// Returns the number of omitted places, which are in the middle.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.total().saturating_sub(2 * END)
    }

    /// Returns `true` if no place was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_none()
    }

    /// Returns the kept places in the order in which they were added: the first 16, then the last
    /// 16.
    ///
    /// Between the two halves, [`omitted`](Trail::omitted) places are missing.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'static Location<'static>> + ExactSizeIterator {
        let omitted = self.omitted();
        let places = self.kept.as_ref().map_or(&[][..], |kept| &kept.places);
        (0..self.total() - omitted).map(move |n| places[if n < END { n } else { slot(n + omitted) }])
    }

    /// Returns the lines to print: the kept places, and a line with the number of omitted ones.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        let omitted = self.omitted();
        let gap = (omitted > 0).then_some(Line::Omitted(omitted));
        let mut places = self.iter().map(Line::Place);
        let first: Vec<_> = places.by_ref().take(END).collect();
        first.into_iter().chain(gap).chain(places)
    }
}

/// Returns the index of the `n`th place.
#[inline]
fn slot(n: usize) -> usize {
    if n < END { n } else { END + n % END }
}

/// A line of a trail.
pub(super) enum Line {
    Place(CallSite),
    Omitted(usize),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Place(place) => write!(f, "{place}"),
            Line::Omitted(count) => write!(f, "… {count} more …"),
        }
    }
}

/// Prints one place on each line, as `file:line:column`, and one line for the omitted places.
/// Prints nothing for an empty trail.
impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, line) in self.lines().enumerate() {
            write!(f, "{}{line}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// Prints a list of the lines of [`Display`](fmt::Display).
impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for line in self.lines() {
            list.entry(&format_args!("{line}"));
        }
        list.finish()
    }
}
