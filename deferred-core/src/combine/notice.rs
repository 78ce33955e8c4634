//! `noticing_cancel`: a loop that ends after a cancel, whatever its body makes of it.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::deferred::Deferred;
use crate::engine::Handle;
use crate::error::{BuiltinError, CallSite, Cancelled, DeferredError};

/// The first cancel of a loop, if it was cancelled.
#[derive(Clone, Default)]
pub(crate) struct Notice(Rc<OnceCell<Cancelled>>);

impl Notice {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.get().is_some()
    }

    /// Returns the error of a loop that was cancelled.
    pub(crate) fn error<E: DeferredError>(&self) -> Option<E> {
        Some(BuiltinError::from(self.0.get()?.clone()).into())
    }
}

/// Returns the Deferred of a loop, which `make` returns. A cancel of it sets the notice, and is passed
/// on. The name is for lists of what is pending.
pub(crate) fn noticing_cancel<T: 'static, E: DeferredError>(
    at: CallSite,
    name: &'static str,
    make: impl FnOnce(Notice) -> Deferred<T, E>,
) -> Deferred<T, E> {
    let notice = Notice::default();
    let chain = match make(notice.clone()).into_result_or_chain() {
        Ok(result) => return Deferred::with_result(result, at, at),
        Err(chain) => chain,
    };
    let inner = Rc::new(chain.handle_for_waiter());
    let described = Rc::downgrade(&inner);
    let (outer, resolver) = Deferred::forwarding_at(at, move |why| {
        let _ = notice.0.set(why.clone()); // the first one counts
        Handle::pass_cancel(&inner, why);
    });
    chain.consume(move |result| Some(resolver.source.set_result(result)));
    outer.describe(move |it| {
        if let Some(inner) = described.upgrade() {
            it.waits_for_handle(&inner);
        }
        it.set_details(name);
    })
}
