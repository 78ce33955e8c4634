//! Plays a program and checks it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use deferred_core::{Abandoned, Deferred, DeferredSemaphore, inline_callbacks, on_unhandled};

use crate::program::Program;
use crate::world::World;

/// Plays `program` without the operations in `without`, and returns the problems found.
pub(crate) fn play(program: &Program, without: Rc<HashSet<usize>>) -> Vec<String> {
    let _quiet = on_unhandled(|_| ());
    let world = World::new(program.style, without);
    let ledger = world.ledger.clone();
    {
        let _entered = world.clock.enter();
        for node in program.body.iter() {
            check_no_panic(&world, &format!("operation {}", node.number), || world.run_one(node));
        }
        check_no_panic(&world, "the end", || world.finish());
    }
    drop(world);
    let mut problems = ledger.problems(program.style.ends);
    if let Err(problem) = works() {
        problems.push(problem);
    }
    problems
}

/// Calls `f`, and records a problem if a panic propagates out of the library.
fn check_no_panic(world: &World, what: &str, f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.ledger.problem(format!("{what} panics: {}", text.unwrap_or_default()));
    }
}

/// Checks that the thread works as before: a dropped resolver fires at once, and one dropped in a
/// callback right after it.
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
    let (next, ends, after, resumed) = (adds("next"), adds("callback ends"), adds("after"), adds("resumed"));
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
            .map(move |()| after()),
    );
    resolver.callback(());
    resumes.callback(());
    let log = log.take();
    let expected = ["abandoned", "callback ends", "next", "after", "resumed"];
    if log == expected { Ok(()) } else { Err(format!("afterwards the thread does {log:?}, and not {expected:?}")) }
}

pub(crate) fn print(program: &Program, without: &HashSet<usize>) {
    println!("{:?}", program.style);
    for node in program.body.iter().filter(|node| !without.contains(&node.number)) {
        println!("{}: {:?}", node.number, node.op);
    }
    if !without.is_empty() {
        println!("(of the nested operations printed above, these are omitted: {without:?})");
    }
}
