//! The span of `tracing` that follows with a context. Without that feature it is nothing.

#[cfg(feature = "tracing")]
pub(super) use with_tracing::{Entered, Span};
#[cfg(not(feature = "tracing"))]
pub(super) use without_tracing::{Entered, Span};

#[cfg(feature = "tracing")]
mod with_tracing {
    use std::panic::Location;

    #[derive(Clone)]
    pub(in super::super) struct Span(tracing::Span);

    pub(in super::super) type Entered<'a> = Option<tracing::span::Entered<'a>>;

    impl Span {
        pub(in super::super) const fn none() -> Span {
            Span(tracing::Span::none())
        }

        pub(in super::super) fn current() -> Span {
            Span(tracing::Span::current())
        }

        pub(in super::super) fn coroutine(at: &'static Location<'static>) -> Span {
            own(tracing::trace_span!(target: "deferred", "coroutine", %at))
        }

        pub(in super::super) fn job(at: &'static Location<'static>) -> Span {
            own(tracing::debug_span!(target: "deferred", "job", %at))
        }

        pub(in super::super) fn connection(at: &'static Location<'static>, peer: &dyn Fn() -> String) -> Span {
            own(tracing::debug_span!(target: "deferred", "connection", %at, peer = peer()))
        }

        pub(in super::super) fn is_none(&self) -> bool {
            self.0.is_none()
        }

        pub(in super::super) fn enter(&self) -> Entered<'_> {
            if self.0.is_none() { None } else { Some(self.0.enter()) }
        }
    }

    /// Returns this span, or the current one if the subscriber does not want this one.
    fn own(span: tracing::Span) -> Span {
        if span.is_disabled() { Span::current() } else { Span(span) }
    }

    impl Default for Span {
        fn default() -> Self {
            Span::none()
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod without_tracing {
    use std::marker::PhantomData;

    use std::panic::Location;

    #[derive(Clone, Default)]
    pub(in super::super) struct Span;

    pub(in super::super) type Entered<'a> = PhantomData<&'a ()>;

    impl Span {
        #[inline]
        pub(in super::super) const fn none() -> Span {
            Span
        }

        #[inline]
        pub(in super::super) const fn current() -> Span {
            Span
        }

        #[inline]
        pub(in super::super) const fn coroutine(_: &'static Location<'static>) -> Span {
            Span
        }

        #[inline]
        pub(in super::super) const fn job(_: &'static Location<'static>) -> Span {
            Span
        }

        pub(in super::super) const fn connection(_: &'static Location<'static>, _: &dyn Fn() -> String) -> Span {
            Span
        }

        #[inline]
        pub(in super::super) const fn is_none(&self) -> bool {
            true
        }

        #[inline]
        pub(in super::super) const fn enter(&self) -> Entered<'_> {
            PhantomData
        }
    }
}
