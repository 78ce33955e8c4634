//! `Recognized`: connection types whose transactions and interrupts the pool knows, whichever
//! manager opens them.

#[cfg(any(feature = "rusqlite", feature = "postgres"))]
use std::any::Any;

use deferred_core::Failure;

use super::interrupt::InterruptHandle;

/// The defaults of [`ManageConnection`](super::manage::ManageConnection) for one connection type.
/// Its methods have the same meaning.
pub(super) trait Recognized {
    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn rollback(&mut self) -> Result<(), Failure>;
    fn in_transaction(&mut self) -> bool;
    fn is_broken(&mut self) -> bool;
    fn interrupt_handle(&mut self) -> InterruptHandle;
    fn check_interrupted(&mut self, calls: u32, error: Option<&Failure>) -> Result<(), Failure>;
}

/// Returns the connection if its type is one of those. A manager is generic over its connection,
/// so the type is compared when the program runs.
#[cfg_attr(not(any(feature = "rusqlite", feature = "postgres")), expect(unused_variables))]
pub(super) fn recognize<C: 'static>(connection: &mut C) -> Option<&mut dyn Recognized> {
    #[cfg(feature = "rusqlite")]
    if (&*connection as &dyn Any).is::<::rusqlite::Connection>() {
        return (connection as &mut dyn Any).downcast_mut::<::rusqlite::Connection>().map(|known| known as _);
    }
    #[cfg(feature = "postgres")]
    if (&*connection as &dyn Any).is::<::postgres::Client>() {
        return (connection as &mut dyn Any).downcast_mut::<::postgres::Client>().map(|known| known as _);
    }
    None
}
