//! Long work in small steps, which takes turns.

use std::process::ExitCode;

use deferred_mio::{Cooperator, Failure, gather, react};

fn count(name: &'static str, up_to: u32) -> impl Iterator<Item = ()> {
    (1..=up_to).map(move |number| println!("{name} {number}"))
}

fn main() -> ExitCode {
    react(|reactor| {
        let cooperator = Cooperator::new(reactor);
        let tasks = [cooperator.cooperate(count("a", 3)), cooperator.cooperate(count("b", 2))];
        gather(tasks.map(|task| task.when_done())).map(drop).map_err(Failure::from)
    })
}
