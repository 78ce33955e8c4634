//! Plays a program and says what is wrong.

use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use deferred_core::{Abandoned, Deferred, DeferredSemaphore, inline_callbacks, on_unhandled};

use crate::program::Program;
use crate::world::World;

/// What is wrong with it.
pub(crate) fn play(program: &Program, without: Rc<HashSet<usize>>) -> Vec<String> {
    let _quiet = on_unhandled(|_| ());
    let world = World::new(program.style, without);
    let ledger = world.ledger.clone();
    {
        let _entered = world.clock.enter();
        for node in program.body.iter() {
            guarded(&world, &format!("operation {}", node.number), || world.run_one(node));
        }
        guarded(&world, "the end", || world.finish());
    }
    drop(world);
    let mut problems = ledger.problems(program.style.ends);
    if let Err(problem) = works() {
        problems.push(problem);
    }
    problems
}

/// No panic comes out of the library.
fn guarded(world: &World, what: &str, f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.ledger.problem(format!("{what} panics: {}", text.unwrap_or_default()));
    }
}

/// The thread is as it was: what is dropped fires at once, and what a callback drops right after
/// it.
fn works() -> Result<(), String> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let adds = |what: &'static str| {
        let log = log.clone();
        move || log.borrow_mut().push(what)
    };
    let (dropped, resolver) = Deferred::<u32>::new();
    let abandoned = adds("abandoned");
    drop(dropped.add_errback(move |failure| {
        failure.trap::<Abandoned>()?;
        abandoned();
        Ok(0)
    }));
    drop(resolver);

    let lock = DeferredSemaphore::new(1);
    let permit = lock.try_acquire(1);
    let (next, ends, behind, resumed) = (adds("next"), adds("callback ends"), adds("behind"), adds("resumed"));
    drop(lock.acquire().map(move |_| next()));
    let (fires, resolver) = Deferred::<()>::new();
    let (awaited, resumes) = Deferred::<()>::new();
    drop(inline_callbacks(async move {
        awaited.await?;
        resumed();
        Ok(())
    }));
    drop(
        fires
            .map(move |()| {
                drop(permit);
                ends();
            })
            .map(move |()| behind()),
    );
    resolver.callback(());
    resumes.callback(());
    let log = log.take();
    let expected = ["abandoned", "callback ends", "next", "behind", "resumed"];
    if log == expected { Ok(()) } else { Err(format!("afterwards the thread does {log:?}, and not {expected:?}")) }
}

pub(crate) fn print(program: &Program, without: &HashSet<usize>) {
    println!("{:?}", program.style);
    for node in program.body.iter().filter(|node| !without.contains(&node.number)) {
        println!("{}: {:?}", node.number, node.op);
    }
    if !without.is_empty() {
        println!("(of what is printed inside of others, these are left out: {without:?})");
    }
}
