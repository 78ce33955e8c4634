//! The places that an error passed.

use std::fmt;
use std::panic::Location;

/// A location in the source: where a Deferred was created, or a callback was added.
pub(crate) type CallSite = &'static Location<'static>;

/// How many places are kept from each end of a trail.
const END: usize = 16;

/// The source locations that an error passed, oldest first.
///
/// Each is the line where a stage was added to a chain, so a trail reads like a traceback of the
/// callbacks. It is recorded in release builds too, and costs nothing until there is an error. Of a
/// long way the first 16 and the last 16 places are kept, and those between them are counted. An
/// empty trail holds no memory; the first place allocates once, and nothing after it does.
///
/// [`Failure::trail`](crate::Failure::trail) lends that of a failure. An error type of your own may
/// hold one too; see [`DeferredError::trail`](crate::DeferredError::trail).
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
    /// `None` until the first place, so that an error that passes nothing allocates nothing for its
    /// trail.
    kept: Option<Box<Kept>>,
}

#[derive(Clone)]
struct Kept {
    total: usize,
    /// The first places, which stay, and behind them a ring of the last ones.
    places: [CallSite; 2 * END],
}

impl Trail {
    /// An empty trail.
    #[must_use]
    pub const fn new() -> Trail {
        Trail { kept: None }
    }

    /// Adds a place at the end.
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

    /// How many places were passed, those that were not kept among them.
    #[must_use]
    pub fn total(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.total)
    }

    /// How many places in the middle were not kept.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.total().saturating_sub(2 * END)
    }

    /// Whether no place was passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_none()
    }

    /// The places that were kept, in the order they were passed: the first 16, then the last 16.
    ///
    /// [`omitted`](Trail::omitted) places lie between the two halves.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'static Location<'static>> + ExactSizeIterator {
        let omitted = self.omitted();
        let places = self.kept.as_ref().map_or(&[][..], |kept| &kept.places);
        (0..self.total() - omitted).map(move |n| places[if n < END { n } else { slot(n + omitted) }])
    }

    /// What to print: the places that were kept, and a line that tells how many are left out.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        let omitted = self.omitted();
        let gap = (omitted > 0).then_some(Line::Omitted(omitted));
        let mut places = self.iter().map(Line::Place);
        let first: Vec<_> = places.by_ref().take(END).collect();
        first.into_iter().chain(gap).chain(places)
    }
}

/// Where the `n`th place is kept.
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

/// One place a line, as `file:line:column`, and one line for those that were not kept. Empty if no
/// place was passed.
impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, line) in self.lines().enumerate() {
            write!(f, "{}{line}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// A list of what [`Display`](fmt::Display) prints as lines.
impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for line in self.lines() {
            list.entry(&format_args!("{line}"));
        }
        list.finish()
    }
}
