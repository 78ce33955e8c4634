//! The four banks: the article's picture of what an event loop is, measured.
//!
//! ```text
//! cargo run --release --example banks
//! ```
//!
//! A bank with one window and a queue in front of it; one that opens a window, a process, for each
//! customer; one with ten clerks, threads, who serve a customer each; and one with a robot in the
//! middle of a circle of customers, which serves whoever is ready and sets aside whoever waits: the
//! loop. All do the same work, for the same customers, who are slow: each takes a moment to say
//! what he wants, and the bank takes a moment to look that up. Where there is Python, the loop is
//! there in asyncio too, and in Twisted if that is installed.
//!
//! Each bank is a process of its own (`services.rs`; it is this program again). The customers
//! (`clients.rs`) are five hundred at any time, on a loop of their own. The table says how many
//! were served per second, and what the bank needed for that.
//!
//! It takes about two seconds for each bank. With `--csv` it prints numbers, for a chart.

mod clients;
mod needs;
mod services;

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use needs::Needs;

/// What a customer takes to say what he wants, and what the bank takes to look it up.
const SPEAKS: Duration = Duration::from_millis(50);
const LOOKS_UP: Duration = Duration::from_millis(50);
/// Whoever looks at a bank waits so long until it has found its pace, and then counts for so long.
const WARM_UP: Duration = Duration::from_millis(500);
const COUNTS: Duration = Duration::from_millis(1500);

const BANKS: [(&str, &str); 4] = [
    ("queue", "one window and a queue"),
    ("processes", "a process for each customer"),
    ("threads", "ten threads"),
    ("loop", "the loop"),
];
const IN_PYTHON: [(&str, &str, &str); 2] =
    [("twisted", "the loop in Twisted", "bank_twisted.py"), ("asyncio", "the loop in asyncio", "bank_asyncio.py")];

/// A bank that is open.
struct Bank {
    process: Child,
    address: SocketAddr,
}

impl Bank {
    fn open(command: &mut Command) -> Result<Bank, Box<dyn Error>> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().ok_or("it has a standard output")?).read_line(&mut line)?;
        let port: u16 = line.trim().parse().map_err(|_| "the bank did not tell its port")?;
        Ok(Bank { process, address: ([127, 0, 0, 1], port).into() })
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a bank did, and what it needed for that, where the system tells.
struct Seen {
    /// Customers a second.
    served: f64,
    /// In megabytes, and in microseconds of the processor for each customer.
    memory: Option<f64>,
    threads: Option<u64>,
    cpu: Option<f64>,
}

fn look_at(command: &mut Command) -> Result<Seen, Box<dyn Error>> {
    let bank = Bank::open(command)?;
    let pid = bank.process.id();
    let (served, [before, after]) = clients::visit(bank.address, move || Needs::of(pid))?;
    let cpu = before.zip(after.as_ref()).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
    Ok(Seen {
        served: served as f64 / COUNTS.as_secs_f64(),
        memory: after.as_ref().map(|needs| needs.bytes as f64 / 1e6),
        threads: after.as_ref().map(|needs| needs.threads),
        cpu: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / served.max(1) as f64),
    })
}

fn run(csv: bool) -> Result<(), Box<dyn Error>> {
    let this = env::current_exe()?;
    let banks = BANKS.iter().filter(|(name, _)| cfg!(unix) || *name != "processes");
    let mut commands: Vec<_> = banks
        .map(|(name, what)| {
            let mut command = Command::new(&this);
            command.args(["--bank", name]);
            (*what, command)
        })
        .collect();
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    for (module, what, script) in IN_PYTHON {
        let has_it = Command::new(&python).args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
        if has_it.is_ok_and(|status| status.success()) {
            let mut command = Command::new(&python);
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("banks").join(script));
            commands.push((what, command));
        } else {
            eprintln!("without {module}: {python} does not have it");
        }
    }
    if csv {
        println!("bank,customers a second,memory MB,threads,CPU us a customer");
    } else {
        println!(
            "{} customers at any time, each of whom takes {SPEAKS:?} and is told after {LOOKS_UP:?}",
            clients::AT_ONCE
        );
        println!(
            "{:<28} {:>18} {:>10} {:>8} {:>15}",
            "bank", "customers a second", "memory MB", "threads", "CPU us of each"
        );
    }
    for (what, mut command) in commands {
        let seen = look_at(&mut command)?;
        let number = |number: Option<f64>| number.map_or_else(|| "?".to_owned(), |number| format!("{number:.1}"));
        let (served, memory, cpu) = (seen.served, number(seen.memory), number(seen.cpu));
        let threads = seen.threads.map_or_else(|| "?".to_owned(), |threads| threads.to_string());
        match csv {
            true => println!("{what},{served:.0},{memory},{threads},{cpu}"),
            false => println!("{what:<28} {served:>18.0} {memory:>10} {threads:>8} {cpu:>15}"),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--bank", name] => services::open(name),
        ["--teller"] => services::teller(),
        [] => run(false),
        ["--csv"] => run(true),
        _ => Err("the only option is --csv".into()),
    }
}
