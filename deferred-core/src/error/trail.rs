//! `Trail`: the locations that an error passed.

use std::any::Any;
use std::fmt;
use std::iter;
use std::panic::Location;

use super::location::of_user;
use super::{DeferredError, Failure, FirstError};

/// A location in the source: where a Deferred was created, or a callback was added.
pub(crate) type CallSite = &'static Location<'static>;

/// The number of locations that are recorded from each end of a trail.
const END: usize = 16;
/// The number of groups inside of each other whose members' trails are printed.
const MAX_MEMBERS: usize = 4;
/// The number of locations for which a trail allocates nothing.
const FEW: usize = 3;

/// The source locations that an error passed, oldest first.
///
/// Each location is a line where a callback was added, or where the error was passed to
/// `Deferred::fail` or `errback`, so a trail reads like a traceback of the callbacks. Trails are
/// recorded in release builds too, and cost nothing until there is an error. Of a long trail, the
/// first 16 and the last 16 locations are recorded, and the number of those between. The first
/// three locations allocate nothing; the fourth allocates once, and later ones allocate nothing.
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
/// assert!(trail.iter().all(|location| location.file() == file!()));
/// assert!(trail.to_string().contains("... 968 locations omitted ..."));
/// ```
#[derive(Clone)]
pub struct Trail {
    recorded: Recorded,
}

#[derive(Clone)]
enum Recorded {
    Few { total: u8, locations: [Option<CallSite>; FEW] },
    Many(Box<Many>),
}

#[derive(Clone)]
struct Many {
    total: usize,
    /// The first locations, followed by a ring of the last ones.
    locations: [CallSite; 2 * END],
}

impl Trail {
    /// Creates an empty trail.
    #[must_use]
    pub const fn new() -> Trail {
        Trail { recorded: Recorded::Few { total: 0, locations: [None; FEW] } }
    }

    /// Appends a location.
    #[inline]
    pub fn push(&mut self, at: &'static Location<'static>) {
        match &mut self.recorded {
            Recorded::Few { total, locations } => match locations.get_mut(usize::from(*total)) {
                Some(free) => {
                    *free = Some(at);
                    *total += 1;
                }
                None => self.allocate(at),
            },
            Recorded::Many(many) => {
                many.locations[slot(many.total)] = at;
                many.total += 1;
            }
        }
    }

    /// Appends the location for which there is no room without an allocation.
    #[cold]
    fn allocate(&mut self, at: CallSite) {
        let mut locations = [at; 2 * END];
        for (location, recorded) in locations.iter_mut().zip(self.iter()) {
            *location = recorded;
        }
        self.recorded = Recorded::Many(Box::new(Many { total: FEW + 1, locations }));
    }

    /// Returns the number of locations, including the omitted ones.
    #[must_use]
    pub fn total(&self) -> usize {
        match &self.recorded {
            Recorded::Few { total, .. } => usize::from(*total),
            Recorded::Many(many) => many.total,
        }
    }

    /// Returns the number of omitted locations, which are in the middle.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.total().saturating_sub(2 * END)
    }

    /// Returns `true` if no location was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Returns the recorded locations in the order in which they were added: the first 16, then the
    /// last 16.
    ///
    /// Between the two halves, [`omitted`](Trail::omitted) locations are missing.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'static Location<'static>> + ExactSizeIterator {
        let omitted = self.omitted();
        (0..self.total() - omitted).map(move |n| match &self.recorded {
            Recorded::Few { locations, .. } => locations[n].expect("the first `total` locations are set"),
            Recorded::Many(many) => many.locations[if n < END { n } else { slot(n + omitted) }],
        })
    }

    /// Returns the lines to print: the recorded locations, and a line with the number of omitted
    /// ones.
    fn lines(&self) -> impl Iterator<Item = Line> {
        let omitted = self.omitted();
        let gap = (omitted > 0).then_some(Line::Omitted(omitted));
        let mut locations = self.iter().map(Line::Location);
        let first: Vec<_> = locations.by_ref().take(END).collect();
        first.into_iter().chain(gap).chain(locations)
    }
}

/// Returns the index of the `n`th location.
#[inline]
fn slot(n: usize) -> usize {
    if n < END { n } else { END + n % END }
}

/// Writes the trail of an error for a report, below a heading: the locations of the program. The
/// trail of a member of a group comes first. Writes nothing if there is no location.
pub(crate) fn write_trail<E: DeferredError>(error: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let failure = (error as &dyn Any).downcast_ref::<Failure>();
    let members = iter::successors(failure.and_then(member), |failure| member(failure)).take(MAX_MEMBERS);
    let members: Vec<_> = members.collect();
    let trails = members.into_iter().rev().map(Failure::trail).chain(error.trail());
    let of_program =
        trails.flat_map(Trail::lines).filter(|line| !matches!(line, Line::Location(at) if of_user(at).is_none()));
    for (n, line) in of_program.enumerate() {
        let heading = if n > 0 { "" } else { "\n    passed through:" };
        write!(f, "{heading}\n        {line}")?;
    }
    Ok(())
}

/// Returns the error of a member, of which a group error holds the first.
fn member(failure: &Failure) -> Option<&Failure> {
    failure.downcast_ref::<FirstError>().map(|first| &first.error)
}

/// A line of a trail.
enum Line {
    Location(CallSite),
    Omitted(usize),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Location(location) => write!(f, "{location}"),
            Line::Omitted(count) => write!(f, "... {count} locations omitted ..."),
        }
    }
}

impl Default for Trail {
    fn default() -> Self {
        Trail::new()
    }
}

/// Prints one location on each line, as `file:line:column`, and one line for the omitted locations.
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
