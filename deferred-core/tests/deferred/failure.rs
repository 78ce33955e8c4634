//! `Failure`: conversion from and into errors, formatting, and the trail.

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, panic_any};
use std::sync::Arc;
use std::time::Duration;

use deferred_core::{
    Abandoned, BuiltinError, Cancelled, Cycle, DeferredError, Failure, HookGuard, NoReactor, Panicked, TimedOut, Trail,
    Unhandled,
};

/// An error with a text and perhaps a cause.
#[derive(Debug)]
struct TextError(String, Option<Box<TextError>>);

impl TextError {
    fn new(text: &str) -> TextError {
        TextError(text.into(), None)
    }

    fn because(text: &str, cause: TextError) -> TextError {
        TextError(text.into(), Some(Box::new(cause)))
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for TextError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_ref().map(|cause| &**cause as _)
    }
}

/// An error with an empty text.
#[derive(Debug, PartialEq)]
struct Empty;

impl fmt::Display for Empty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("empty")
    }
}

impl Error for Empty {}

/// Returns one of each builtin error, with the name of its variant.
fn builtin_errors() -> [(&'static str, BuiltinError); 6] {
    [
        ("Cancelled", Cancelled::new().into()),
        ("TimedOut", TimedOut::new().into()),
        ("Abandoned", Abandoned::new().into()),
        ("Panicked", Panicked::new(Box::new("here")).into()),
        ("Cycle", Cycle::new().into()),
        ("NoReactor", NoReactor::new().into()),
    ]
}

fn variant(builtin: &BuiltinError) -> &'static str {
    match builtin {
        BuiltinError::Cancelled(_) => "Cancelled",
        BuiltinError::TimedOut(_) => "TimedOut",
        BuiltinError::Abandoned(_) => "Abandoned",
        BuiltinError::Panicked(_) => "Panicked",
        BuiltinError::Cycle(_) => "Cycle",
        BuiltinError::NoReactor(_) => "NoReactor",
        _ => "another",
    }
}

/// Returns the names of the six inner types for which `check` returns `true`.
fn checked(failure: &Failure) -> Vec<&'static str> {
    [
        ("Cancelled", failure.check::<Cancelled>()),
        ("TimedOut", failure.check::<TimedOut>()),
        ("Abandoned", failure.check::<Abandoned>()),
        ("Panicked", failure.check::<Panicked>()),
        ("Cycle", failure.check::<Cycle>()),
        ("NoReactor", failure.check::<NoReactor>()),
    ]
    .into_iter()
    .filter_map(|(name, is)| is.then_some(name))
    .collect()
}

#[track_caller]
fn here() -> &'static Location<'static> {
    Location::caller()
}

/// Returns `count` locations that repeat seven different ones.
fn many(count: usize) -> Vec<&'static Location<'static>> {
    [here(), here(), here(), here(), here(), here(), here()].into_iter().cycle().take(count).collect()
}

fn passing(places: &[&'static Location<'static>]) -> Failure {
    let mut failure = Failure::from(Empty);
    places.iter().for_each(|place| failure.add_location(place));
    failure
}

#[test]
fn trap_returns_the_error_and_forwards_any_other() {
    let errback = |failure: Failure| {
        failure.trap::<Empty>()?;
        Ok(0)
    };
    assert_eq!(errback(Empty.into()).unwrap(), 0);
    let passed: Result<u32, Failure> = errback(TextError::new("another").into());
    assert_eq!(passed.unwrap_err().to_string(), "another");

    let text = |failure: Failure| -> Result<String, Failure> { Ok(failure.trap::<TextError>()?.0.clone()) };
    assert_eq!(text(TextError::new("by value").into()).unwrap(), "by value");
    assert_eq!(Failure::from(Empty).trap::<Empty>().unwrap().to_string(), "empty");
    assert!(text(Cancelled::new().into()).unwrap_err().check::<Cancelled>());
}

#[test]
fn trap_and_check_match_the_error_not_its_causes() {
    let failure = Failure::from(TextError::because("the error", TextError::new("the cause")));
    assert_eq!(failure.source().unwrap().to_string(), "the cause");
    assert_eq!(failure.downcast_ref::<TextError>().unwrap().0, "the error");
    let failure = Failure::from(Cancelled::because(TextError::new("the reason")));
    assert!(!failure.check::<TextError>());
    assert!(failure.trap::<TextError>().unwrap_err().check::<Cancelled>());
}

#[test]
fn check_may_be_used_as_a_function() {
    let results: [Result<(), Failure>; 3] = [Err(Empty.into()), Err(Abandoned::new().into()), Ok(())];
    let found = results.iter().map(|result| result.as_ref().map_or_else(Failure::check::<Abandoned>, |()| true));
    assert_eq!(found.collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn downcasts_find_the_error_that_went_in() {
    let mut failure = Failure::from(TextError::new("first"));
    assert!(failure.check::<TextError>() && !failure.check::<Empty>());
    assert_eq!(failure.downcast_ref::<TextError>().unwrap().0, "first");
    assert!(failure.downcast_ref::<Empty>().is_none());
    failure.downcast_mut::<TextError>().unwrap().0.push_str(", changed");
    assert!(failure.downcast_mut::<Empty>().is_none());
    assert_eq!(failure.to_string(), "first, changed");
    assert_eq!(failure.downcast::<TextError>().unwrap().0, "first, changed");
}

#[test]
fn a_downcast_to_another_type_returns_the_failure_unchanged() {
    let mut failure = Failure::from(TextError::new("the same"));
    failure.add_location(here());
    let printed = format!("{failure:?}");
    let address = failure.error() as *const _ as *const ();
    let failure = failure.downcast::<Empty>().unwrap_err().trap::<BuiltinError>().unwrap_err();
    assert_eq!(failure.error() as *const _ as *const (), address);
    assert_eq!(format!("{failure:?}"), printed);
    assert_eq!(failure.trail().total(), 1);
}

#[test]
fn a_boxed_error_is_found_too() {
    let boxed = || -> Box<dyn Error + Send + Sync> { Box::new(TextError::new("boxed")) };
    let mut failure = Failure::from_boxed(boxed());
    assert!(failure.check::<TextError>() && !failure.check::<Empty>());
    failure.downcast_mut::<TextError>().unwrap().0.push('!');
    assert_eq!(failure.trap::<TextError>().unwrap().0, "boxed!");
    assert!(Failure::from_boxed(boxed()).builtin().is_none());
}

#[test]
fn a_builtin_error_is_recognized_in_every_wrapping() {
    let ways: [fn(BuiltinError) -> Failure; 4] = [
        Failure::from,
        |builtin| Failure::from_boxed(Box::new(builtin)),
        |builtin| Failure::from_boxed(Failure::from(builtin).into()),
        |builtin| match builtin {
            BuiltinError::Cancelled(error) => error.into(),
            BuiltinError::TimedOut(error) => error.into(),
            BuiltinError::Abandoned(error) => error.into(),
            BuiltinError::Panicked(error) => error.into(),
            BuiltinError::Cycle(error) => error.into(),
            BuiltinError::NoReactor(error) => error.into(),
            _ => unreachable!("there are six"),
        },
    ];
    for way in ways {
        for (name, builtin) in builtin_errors() {
            let text = builtin.to_string();
            let mut failure = way(builtin);
            assert_eq!(failure.builtin().map(variant), Some(name));
            assert_eq!(checked(&failure), [name]);
            assert!(failure.check::<BuiltinError>());
            assert_eq!(failure.downcast_ref::<BuiltinError>().map(variant), Some(name));
            assert_eq!(failure.downcast_mut::<BuiltinError>().map(|builtin| variant(builtin)), Some(name));
            assert!(!failure.check::<Empty>());
            assert!(!failure.error().is::<BuiltinError>(), "it holds the inner type");
            assert_eq!(failure.error().to_string(), text);
            assert_eq!(variant(&failure.trap::<BuiltinError>().unwrap()), name);
        }
    }
    assert!(Failure::from(Empty).builtin().is_none());
    assert!(!Failure::from(Empty).check::<BuiltinError>());
}

#[test]
fn a_builtin_error_converts_into_its_inner_type() {
    let mut failure = Failure::from(BuiltinError::from(TimedOut::after(Duration::from_secs(3))));
    assert_eq!(failure.downcast_ref::<TimedOut>().unwrap().duration(), Some(Duration::from_secs(3)));
    *failure.downcast_mut::<TimedOut>().unwrap() = TimedOut::new();
    assert!(failure.downcast_mut::<Cancelled>().is_none());
    let failure = failure.trap::<Cancelled>().unwrap_err();
    assert_eq!(failure.trap::<TimedOut>().unwrap().duration(), None);

    let trapped = Failure::from(Cancelled::because(Empty)).downcast::<Cancelled>().unwrap();
    assert!(trapped.reason().unwrap().is::<Empty>());
}

#[test]
fn builtin_error_implements_error_and_deferred_error() {
    for (name, builtin) in builtin_errors() {
        assert!(format!("{builtin:?}").starts_with(name), "{builtin:?}");
        assert!(!builtin.to_string().is_empty());
        assert!(builtin.source().is_none());
        assert_eq!(builtin.builtin().map(variant), Some(name));
        assert!(builtin.trail().is_none());
        let _: &(dyn Error + Send + Sync) = &builtin;
    }
    let builtin = BuiltinError::from(Cancelled::because(TextError::because("reason", TextError::new("cause"))));
    assert_eq!(builtin.to_string(), "cancelled: reason");
    assert_eq!(builtin.source().unwrap().to_string(), "cause", "the text of the inner error is not repeated");
}

#[test]
fn deferred_error_needs_no_methods() {
    #[derive(Debug)]
    struct Plain;
    impl From<BuiltinError> for Plain {
        fn from(_: BuiltinError) -> Self {
            Plain
        }
    }
    impl DeferredError for Plain {}

    let mut plain = Plain;
    plain.add_location(here());
    assert!(plain.builtin().is_none() && plain.trail().is_none());
}

#[test]
fn a_deferred_error_may_keep_its_own_trail() {
    #[derive(Debug, Default)]
    struct Kept(Trail);
    impl From<BuiltinError> for Kept {
        fn from(_: BuiltinError) -> Self {
            Kept::default()
        }
    }
    impl DeferredError for Kept {
        fn add_location(&mut self, at: &'static Location<'static>) {
            self.0.push(at);
        }

        fn trail(&self) -> Option<&Trail> {
            Some(&self.0)
        }
    }

    let mut kept = Kept::from(BuiltinError::from(Cycle::new()));
    let place = here();
    kept.add_location(place);
    assert!(kept.trail().unwrap().iter().eq([place]));
}

#[test]
fn a_cancel_has_a_reason_or_none() {
    assert!(Cancelled::new().reason().is_none());
    assert!(Cancelled::default().source().is_none());
    assert_eq!(format!("{:?}", Cancelled::new()), "Cancelled");

    let cancelled = Cancelled::because(TextError::new("shutdown"));
    assert!(cancelled.reason().unwrap().is::<TextError>());
    assert!(cancelled.source().is_none(), "the reason is in the text");
    assert_eq!(cancelled.to_string(), "cancelled: shutdown");
    assert_eq!(Cancelled::because(cancelled.clone()).to_string(), "cancelled: shutdown");
    let nested = (0..20).fold(cancelled.clone(), |inner, _| Cancelled::because(BuiltinError::from(inner)));
    assert_eq!(nested.to_string(), "cancelled: shutdown");
    assert!(format!("{cancelled:?}").contains("shutdown"));
    assert_eq!(Cancelled::because("as a text").reason().unwrap().to_string(), "as a text");

    let clone = cancelled.clone();
    let address = |cancelled: &Cancelled| cancelled.reason().unwrap() as *const _ as *const ();
    assert_eq!(address(&clone), address(&cancelled), "a clone shares the reason");
}

#[test]
fn a_reason_may_be_shared_from_the_start() {
    let shared: Arc<dyn Error + Send + Sync> = Arc::new(Empty);
    let cancelled = Cancelled::because(shared.clone());
    assert!(cancelled.reason().unwrap().is::<Empty>());
    assert_eq!(Arc::strong_count(&shared), 2);

    let cancelled = Cancelled::because(Arc::new(Empty));
    assert_eq!(cancelled.reason().unwrap().to_string(), "empty");
    assert_eq!(**cancelled.reason().unwrap().downcast_ref::<Arc<Empty>>().unwrap(), Empty);
}

#[test]
fn a_panic_keeps_its_message_and_returns_its_payload_once() {
    let caught = |f: fn()| Panicked::new(catch_unwind(f).unwrap_err());
    let text = caught(|| panic!("a text"));
    assert_eq!(text.message(), "a text");
    assert_eq!(text.to_string(), "panicked: a text");
    assert_eq!(text.take_payload().unwrap().downcast_ref::<&str>(), Some(&"a text"));
    assert!(text.take_payload().is_none());
    assert_eq!(text.message(), "a text", "also when the payload is gone");
    assert_eq!(text.into_payload().downcast_ref::<String>().unwrap(), "a text");

    let formatted = caught(|| panic!("number {}", black_box(5)));
    assert_eq!(formatted.message(), "number 5");
    assert_eq!(formatted.into_payload().downcast_ref::<String>().unwrap(), "number 5");

    let any = caught(|| panic_any(Empty));
    assert!(!any.message().is_empty());
    let any = Failure::from(BuiltinError::from(any)).trap::<Panicked>().unwrap();
    assert_eq!(any.into_inner().unwrap().into_payload().downcast_ref::<Empty>(), Some(&Empty));
}

#[test]
fn a_payload_whose_destructor_panics_with_such_a_payload_is_ignored() {
    struct Again(u32);
    impl Drop for Again {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Again(self.0 - 1));
            }
        }
    }
    let panicked = || Panicked::new(Box::new(Again(2)));
    assert!(catch_unwind(|| drop(panicked())).is_ok());
    assert!(catch_unwind(|| drop(Cancelled::because(panicked()))).is_ok(), "inside another error");
}

#[test]
fn display_is_the_message_and_alternate_display_the_causes_too() {
    assert_eq!(Failure::from(Empty).to_string(), "empty");
    assert_eq!(Failure::msg("a text").to_string(), "a text");
    let chain = TextError::because("a", TextError::because("b", TextError::new("c")));
    let failure = Failure::from(chain);
    assert_eq!(failure.to_string(), "a");
    assert_eq!(format!("{failure:#}"), "a: b: c");
    let failure = Failure::from(Cancelled::because(TextError::because("a", TextError::new("b"))));
    assert_eq!(format!("{failure:#}"), "cancelled: a: b");
    let cause = Failure::from(TextError::because("a", TextError::new("b")));
    assert_eq!(cause.source().unwrap().to_string(), "b");
}

#[test]
fn a_cause_that_the_text_already_contains_is_not_repeated() {
    let chain = TextError::because("a: b: c", TextError::because("b: c", TextError::new("c")));
    assert_eq!(format!("{:#}", Failure::from(chain)), "a: b: c");
    let chain = TextError::because("a: b", TextError::because("b", TextError::new("c")));
    assert_eq!(format!("{:#}", Failure::from(chain)), "a: b: c");
    let failure = Failure::from(TextError::because("a: b", TextError::new("b")));
    assert_eq!(format!("{failure:?}"), format!("a: b\n    made at {}", failure.made_at()));
}

#[test]
fn debug_prints_the_causes_and_the_trail_on_lines() {
    let mut failure = Failure::from(TextError::because("a", TextError::because("b", TextError::new("c"))));
    let made_at = format!("    made at {}", failure.made_at());
    assert_eq!(format!("{failure:?}"), format!("a\n    caused by: b\n    caused by: c\n{made_at}"));
    let (first, second) = (here(), here());
    failure.add_location(first);
    failure.add_location(second);
    let lines = format!("{failure:?}");
    assert_eq!(
        lines.lines().collect::<Vec<_>>(),
        [
            "a",
            "    caused by: b",
            "    caused by: c",
            &made_at,
            "    passed through:",
            &format!("        {first}"),
            &format!("        {second}"),
        ]
    );

    let fails = |failure| -> Result<(), Failure> { Err(failure) };
    let unwrapped = catch_unwind(AssertUnwindSafe(|| fails(failure).unwrap())).unwrap_err();
    assert!(unwrapped.downcast_ref::<String>().unwrap().ends_with(&lines));
}

#[test]
fn a_failure_converts_back_into_its_error() {
    fn whole() -> Result<(), Box<dyn Error + Send + Sync>> {
        Err(Failure::from(TextError::new("mine")))?
    }
    assert_eq!(whole().unwrap_err().downcast::<TextError>().unwrap().0, "mine");
    fn sent() -> Result<(), Box<dyn Error + Send>> {
        Err(Failure::from(TextError::new("mine")))?
    }
    assert!((*sent().unwrap_err()).is::<TextError>());
    fn plain() -> Result<(), Box<dyn Error>> {
        Err(Failure::from(BuiltinError::from(Cancelled::new())))?
    }
    assert!(plain().unwrap_err().is::<Cancelled>());

    let boxed: Box<dyn Error + Send + Sync> = Box::new(TextError::new("the same box"));
    let address = &*boxed as *const _ as *const ();
    let boxed = Box::<dyn Error + Send + Sync>::from(Failure::from_boxed(boxed));
    assert_eq!(&*boxed as *const _ as *const (), address);
}

#[test]
fn a_trail_is_empty_at_first_and_then_in_order() {
    let failure = Failure::from(Empty);
    assert!(failure.trail().is_empty());
    assert_eq!((failure.trail().total(), failure.trail().omitted()), (0, 0));
    assert_eq!(failure.trail().iter().count(), 0);
    assert_eq!((failure.trail().to_string(), format!("{:?}", failure.trail())), (String::new(), "[]".into()));

    let places = [here(), here(), here()];
    let failure = passing(&places);
    assert!(failure.trail().iter().eq(places));
    assert!(failure.trail().iter().rev().eq(places.into_iter().rev()));
    assert!(DeferredError::trail(&failure).unwrap().iter().eq(places));
    assert!(!failure.trail().is_empty());
}

#[test]
fn a_trail_keeps_both_ends_and_counts_the_middle() {
    for total in [1, 15, 16, 17, 31, 32, 33, 34, 47, 48, 49, 64, 1000] {
        let places = many(total);
        let failure = passing(&places);
        let trail = failure.trail();
        let expected: Vec<_> = if total <= 32 { places } else { [&places[..16], &places[total - 16..]].concat() };
        assert_eq!(trail.iter().collect::<Vec<_>>(), expected, "of {total}");
        assert_eq!(trail.iter().len(), expected.len());
        assert_eq!((trail.total(), trail.omitted()), (total, total.saturating_sub(32)));
        assert!(trail.clone().iter().eq(trail.iter()));
    }
}

#[test]
fn a_trail_prints_one_location_on_each_line() {
    let places = [here(), here()];
    let failure = passing(&places);
    assert_eq!(failure.trail().to_string(), format!("{}\n{}", places[0], places[1]));
    assert_eq!(format!("{:?}", failure.trail()), format!("[{}, {}]", places[0], places[1]));

    assert_eq!(passing(&many(32)).trail().to_string().lines().count(), 32);
    let failure = passing(&many(1000));
    let printed = failure.trail().to_string();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!((lines.len(), lines[16]), (33, "... 968 locations omitted ..."));
    assert!(lines.iter().enumerate().all(|(n, line)| n == 16 || line.starts_with(file!())));
    assert!(format!("{failure:?}").contains("... 968 locations omitted ..."));
    assert!(format!("{:?}", failure.trail()).contains(", ... 968 locations omitted ..., "));
}

#[test]
fn sizes_are_part_of_the_interface() {
    assert_eq!(size_of::<Failure>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Failure>>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), Failure>>(), size_of::<usize>());
    assert_eq!(size_of::<Trail>(), 4 * size_of::<usize>(), "three locations");
    assert!(size_of::<BuiltinError>() <= 4 * size_of::<usize>());
}

#[test]
fn types_are_send_unless_they_belong_to_a_thread() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Failure>();
    crosses::<BuiltinError>();
    crosses::<Cancelled>();
    crosses::<TimedOut>();
    crosses::<Abandoned>();
    crosses::<Panicked>();
    crosses::<Cycle>();
    crosses::<NoReactor>();
    crosses::<Trail>();

    fn prints<T: fmt::Debug>() {}
    prints::<Unhandled<'_>>();
    prints::<HookGuard>();
}
