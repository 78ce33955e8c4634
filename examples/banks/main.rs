//! Four banks as a picture of threads, processes and an event loop, measured.
//!
//! ```text
//! cargo run --release --example banks
//! ```
//!
//! One bank has one window and a queue in front of it. One opens a window, a process, for each
//! customer. One has ten clerks, threads, each of whom serves a customer. One has a robot in the
//! middle of a circle of customers, which serves those that are ready and sets aside those that are
//! not: the loop. All banks do the same work for the same customers, who are slow: each takes a
//! moment to state its wish, and the bank takes a moment to look that up. If Python is installed,
//! the loop is also measured in asyncio, and in Twisted, gevent and Tornado where they are
//! installed. (`PYTHON` names another Python, such as that of a virtual environment.)
//!
//! Each bank is a separate process (`services.rs`, in this program's own binary). The customers
//! (`clients.rs`), five hundred at any time, are a loop in this process. The output is a table of
//! the customers served per second, and the memory, threads and CPU time of each bank.
//!
//! Each bank takes about two seconds. With `--csv` the output is a CSV file, for a chart.

mod clients;
mod services;
mod usage;

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use usage::Usage;

/// The time a customer takes to state its wish, and the time the bank takes to look it up.
const SPEAKS: Duration = Duration::from_millis(50);
const LOOKS_UP: Duration = Duration::from_millis(50);
/// The time before a bank is measured, and the time for which it is measured.
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_millis(1500);

const BANKS: [(&str, &str); 4] = [
    ("queue", "one window and a queue"),
    ("processes", "a process for each customer"),
    ("threads", "ten threads"),
    ("loop", "the loop"),
];
const IN_PYTHON: [(&str, &str, &str); 4] = [
    ("twisted", "the loop in Twisted", "bank_twisted.py"),
    ("asyncio", "the loop in asyncio", "bank_asyncio.py"),
    ("gevent", "the loop in gevent", "bank_gevent.py"),
    ("tornado", "the loop in Tornado", "bank_tornado.py"),
];

/// The process of a bank that accepts customers.
struct Bank {
    process: Child,
    address: SocketAddr,
}

impl Bank {
    fn open(command: &mut Command) -> Result<Bank, Box<dyn Error>> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().ok_or("the standard output is a pipe")?).read_line(&mut line)?;
        let port: u16 = line.trim().parse().map_err(|_| "the bank did not print its port")?;
        Ok(Bank { process, address: ([127, 0, 0, 1], port).into() })
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The throughput of a bank and the resources it used, if the system provides them.
struct Measurement {
    /// Customers per second.
    served: f64,
    /// The memory in megabytes.
    memory: Option<f64>,
    threads: Option<u64>,
    /// The CPU time per customer in microseconds.
    cpu: Option<f64>,
}

fn measure(command: &mut Command) -> Result<Measurement, Box<dyn Error>> {
    let bank = Bank::open(command)?;
    let pid = bank.process.id();
    let (served, [before, after]) = clients::visit(bank.address, move || Usage::of(pid))?;
    let cpu = before.zip(after.as_ref()).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
    Ok(Measurement {
        served: served as f64 / MEASURED.as_secs_f64(),
        memory: after.as_ref().map(|usage| usage.bytes as f64 / 1e6),
        threads: after.as_ref().map(|usage| usage.threads),
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
            eprintln!("skipped {module}: {python} cannot import it");
        }
    }
    if csv {
        println!("bank,customers per second,memory MB,threads,CPU us per customer");
    } else {
        println!(
            "{} customers at any time; each takes {SPEAKS:?} to ask and is answered after {LOOKS_UP:?}",
            clients::CUSTOMERS
        );
        println!(
            "{:<28} {:>18} {:>10} {:>8} {:>15}",
            "bank", "customers per second", "memory MB", "threads", "CPU us/customer"
        );
    }
    for (what, mut command) in commands {
        let measured = measure(&mut command)?;
        let number = |number: Option<f64>| number.map_or_else(|| "?".to_owned(), |number| format!("{number:.1}"));
        let (served, memory, cpu) = (measured.served, number(measured.memory), number(measured.cpu));
        let threads = measured.threads.map_or_else(|| "?".to_owned(), |threads| threads.to_string());
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
