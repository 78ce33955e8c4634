//! The pool behind its lock: jobs that wait and run, and the threads that run them.
//!
//! How threads sleep and are woken is the [crew](crate::crew)'s; how results come home is
//! [home](crate::home)'s. At the end of a job a thread takes the next one, and then sends the
//! finished one home. If there is none it counts as idle first, sends it home, and looks again
//! before it sleeps: so the job that a callback gives finds it awake, and the statistics that a
//! callback sees are exact.

use std::collections::VecDeque;
use std::hint;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use deferred_core::{Abandoned, Cancelled, Failure, RemoteResolver};

use crate::builder::{Config, Hook};
use crate::crew::{Crew, Sleeper, Summons};
use crate::delivery::Ender;
use crate::error::{PoolStopped, QueueFull, SpawnFailed, StopTimedOut};
use crate::job::{Ending, Entry, Job, Key, Owner, Slip, Task, drop_guarded, guarded};
use crate::line::Line;
use crate::queue::Queue;
use crate::stats::{Counts, PoolStats, RunningJob};
use crate::stuck::{self, Stuck, StuckPool};
use crate::sync::{Mutex, MutexGuard, current, step};

pub(crate) struct Workers {
    pub(crate) config: Config,
    state: Mutex<State>,
    /// How many jobs wait, for those who linger.
    waiting: AtomicUsize,
}

struct State {
    crew: Crew,
    queue: Queue,
    counts: Counts,
    /// What each thread runs, by its seat.
    seats: Vec<Seat>,
    /// How many threads were ever started, for their names.
    started: u64,
    stopped: bool,
    /// Whether somebody looks whether the pool is stuck.
    watched: bool,
    /// Who waits for a place in the queue.
    room: Line<RemoteResolver<Told>>,
    /// Who was told that there is one, and may come for it.
    told: usize,
    /// Who waits for the end of the last thread.
    enders: Line<Ender>,
}

/// A thread's place among the others.
struct Seat {
    is_free: bool,
    /// The number of a job that is not wanted any more: its closure looks.
    told: Arc<AtomicU64>,
    runs: Option<Running>,
}

struct Running {
    number: u64,
    slip: Slip,
    /// Since when.
    since: Instant,
    /// It counts as cancelled already.
    given_up: bool,
}

/// Somebody was told that there is room. While this lives the place counts as taken; whoever holds
/// it has come by its end, or does not come, and then others are told.
pub(crate) struct Told {
    workers: Weak<Workers>,
}

/// Who has asked for room, and whether he was told.
struct Asked {
    resolver: RemoteResolver<Told>,
    is_told: bool,
}

impl Drop for Told {
    fn drop(&mut self) {
        let Some(workers) = self.workers.upgrade() else { return };
        let mut state = workers.lock();
        state.told -= 1;
        let room = state.room(workers.config.queue_limit);
        drop(state);
        workers.see_to(Later { room, ..Later::default() });
    }
}

/// What the lock must be free for.
#[derive(Default)]
struct Later {
    summons: Option<Summons>,
    /// They have a place in the queue.
    room: Vec<Asked>,
    /// The last thread has ended.
    enders: VecDeque<Ender>,
    /// Somebody is to look whether the pool is stuck.
    watch: bool,
}

impl State {
    /// How many more jobs may come. One for which there is a thread need not wait, and does not
    /// count.
    #[inline]
    fn places(&self, limit: usize) -> usize {
        let free = self.crew.max().saturating_sub(self.crew.busy());
        limit.saturating_add(free).saturating_sub(self.queue.len())
    }

    /// Who has room for a job now, and is told so. Those who wait no more come out too, to be
    /// dropped without the lock.
    #[inline]
    fn room(&mut self, limit: usize) -> Vec<Asked> {
        let mut room = Vec::new();
        while self.told < self.places(limit) {
            let Some(resolver) = self.room.pop() else { break };
            let is_told = !resolver.is_cancelled();
            self.told += usize::from(is_told);
            room.push(Asked { resolver, is_told });
        }
        room
    }

    /// Who is to be told of the end, now.
    fn ended(&mut self) -> VecDeque<Ender> {
        if self.stopped && self.crew.threads() == 0 { self.enders.take() } else { VecDeque::new() }
    }

    /// Jobs wait, each thread is busy, and nobody looks on. From now on somebody does.
    #[inline]
    fn is_unwatched(&mut self) -> bool {
        self.queue.len() > 0 && self.crew.is_busy() && !mem::replace(&mut self.watched, true)
    }

    fn take_queue(&mut self) -> Vec<Entry> {
        std::iter::from_fn(|| self.queue.pop()).collect()
    }

    /// What waits, and will never run, counts as cancelled. It is to be [sent home](send_home).
    fn cancel_queue(&mut self) -> Vec<Entry> {
        let gone = self.take_queue();
        self.counts.cancelled += gone.len() as u64;
        gone
    }

    fn running(&self) -> Vec<RunningJob> {
        let job = |running: &Running| RunningJob { at: running.slip.at, time: running.since.elapsed() };
        self.seats.iter().filter_map(|seat| seat.runs.as_ref()).map(job).collect()
    }
}

impl Workers {
    pub(crate) fn new(config: Config) -> Arc<Workers> {
        let state = State {
            crew: Crew::new(config.min_threads, config.max_threads),
            queue: Queue::default(),
            counts: Counts::new(),
            seats: Vec::new(),
            started: 0,
            stopped: false,
            watched: false,
            room: Line::new(),
            told: 0,
            enders: Line::new(),
        };
        Arc::new(Workers { config, state: Mutex::new(state), waiting: AtomicUsize::new(0) })
    }

    /// Gives the job's number.
    ///
    /// # Errors
    ///
    /// The job and why it was not taken.
    pub(crate) fn submit(self: &Arc<Self>, task: Box<dyn Task>, slip: Slip) -> Result<u64, (Box<dyn Task>, Failure)> {
        let mut state = self.lock();
        let number = state.counts.submitted;
        state.counts.submitted += 1;
        if state.stopped || state.places(self.config.queue_limit) == 0 {
            state.counts.refused += 1;
            let why = if state.stopped {
                PoolStopped::default().into()
            } else {
                QueueFull { limit: self.config.queue_limit }.into()
            };
            drop(state);
            return Err((task, why));
        }
        state.queue.push(Entry { number, task, slip });
        let waiting = self.note_waiting(&state);
        let summons = state.crew.summon(waiting);
        let watch = state.is_unwatched();
        drop(state);
        self.see_to(Later { summons, watch, ..Later::default() });
        Ok(number)
    }

    /// For the watcher: how long until it is worth to look again, and what it finds now. None if
    /// nothing waits; then nobody watches any more.
    pub(crate) fn look(&self) -> Option<(Duration, Option<Stuck>)> {
        let mut state = self.lock();
        let Some(oldest) = state.queue.first() else {
            state.watched = false;
            return None;
        };
        let (number, waits, at) = (oldest.number, oldest.slip.since.elapsed(), oldest.slip.at);
        let left = self.config.stuck_after.saturating_sub(waits);
        if !left.is_zero() {
            return Some((left, None));
        }
        let stuck = state.crew.is_busy().then(|| Stuck {
            oldest: number,
            next: state.counts.submitted,
            report: StuckPool {
                name: self.config.name.clone(),
                queued: state.queue.len(),
                oldest_wait: waits,
                oldest_at: at,
                running: state.running(),
            },
        });
        Some((self.config.stuck_after, stuck))
    }

    #[inline]
    fn note_waiting(&self, state: &State) -> usize {
        let waiting = state.queue.len();
        if self.config.linger.is_some() {
            // ORDERING: a hint: whoever sees it looks under the lock.
            self.waiting.store(waiting, Ordering::Relaxed);
        }
        waiting
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        step();
        self.state.lock()
    }

    fn answer(self: &Arc<Self>, summons: Summons) {
        step();
        match summons {
            Summons::Wake(sleeper) => sleeper.unpark(),
            Summons::Start => self.start(),
        }
    }

    fn see_to(self: &Arc<Self>, later: Later) {
        if let Some(summons) = later.summons {
            self.answer(summons);
        }
        later.enders.into_iter().for_each(|ender| ender.tell(Ok(())));
        for Asked { resolver, .. } in later.room.into_iter().filter(|asked| asked.is_told) {
            resolver.callback(Told { workers: Arc::downgrade(self) });
        }
        if later.watch && !stuck::watch(self) {
            self.lock().watched = false;
        }
    }

    /// Nobody waits for this job any more. One that waits is taken out, and dropped here; one that
    /// runs is told.
    pub(crate) fn cancel(self: &Arc<Self>, number: u64) {
        let mut state = self.lock();
        let mut later = Later::default();
        let entry = state.queue.remove(number);
        if entry.is_some() {
            state.counts.cancelled += 1;
            self.note_waiting(&state);
            later.room = state.room(self.config.queue_limit);
        } else {
            state.give_up(|running| running.number == number);
        }
        drop(state);
        self.see_to(later);
        drop(entry); // the lock is free: a destructor may submit, or panic
    }

    /// A Deferred's resolver that is fired when a job may come: at once if there is room now.
    pub(crate) fn when_room(self: &Arc<Self>, resolver: RemoteResolver<Told>) {
        let mut state = self.lock();
        if state.stopped {
            drop(state);
            return resolver.errback(PoolStopped::default());
        }
        let gone = state.room.push(resolver);
        let room = state.room(self.config.queue_limit);
        drop(state);
        drop(gone); // which tells their reactors
        self.see_to(Later { room, ..Later::default() });
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn lines(&self) -> (usize, usize) {
        let state = self.lock();
        (state.room.len(), state.enders.len())
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn seats(&self) -> usize {
        self.lock().seats.len()
    }

    pub(crate) fn adjust(self: &Arc<Self>, min: usize, max: usize) {
        let mut state = self.lock();
        let told = state.crew.adjust(min, max);
        let waiting = state.queue.len();
        let mut later = Later { summons: state.crew.summon(waiting), ..Later::default() };
        let gone = if state.stopped && max == 0 { state.cancel_queue() } else { Vec::new() };
        later.room = state.room(self.config.queue_limit);
        later.watch = state.is_unwatched();
        drop(state);
        told.iter().for_each(|sleeper| sleeper.unpark());
        self.see_to(later);
        send_home(gone, stopped);
    }

    /// No more jobs. Those that wait are run, or cancelled; then each thread ends, and `ender` is
    /// told.
    pub(crate) fn stop(self: &Arc<Self>, cancels: bool, ender: Option<Ender>) {
        let mut state = self.lock();
        state.stopped = true;
        // With a maximum of 0 nobody would ever run them.
        let gone = if cancels || state.crew.max() == 0 { state.cancel_queue() } else { Vec::new() };
        self.note_waiting(&state);
        let room = state.room.take();
        let sleepers = state.crew.wake_all();
        let given_up = ender.map(|ender| state.enders.push(ender));
        let later = Later { enders: state.ended(), ..Later::default() };
        drop(state);
        sleepers.iter().for_each(|sleeper| sleeper.unpark());
        room.into_iter().for_each(|resolver| resolver.errback(PoolStopped::default()));
        self.see_to(later);
        send_home(gone, stopped);
        drop(given_up); // which tells their reactors
    }

    /// The deadline of a stop has passed: what waits is cancelled, what runs is given up.
    pub(crate) fn stop_overdue(self: &Arc<Self>) {
        let mut state = self.lock();
        let gone = state.cancel_queue();
        let overdue = StopTimedOut { running: state.running() };
        let owners = state.give_up(|_| true);
        let enders = state.enders.take();
        drop(state);
        send_home(gone, stopped);
        for (owner, key) in owners {
            let why =
                "its pool was stopped, and it ran on past the deadline; let a long job look at `Job::is_cancelled`";
            guarded(|| owner.give_up(key, Abandoned::because(why).into()));
        }
        enders.into_iter().for_each(|ender| ender.tell(Err(overdue.clone())));
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let state = self.lock();
        let oldest = state.queue.first().map(|entry| entry.slip.since);
        state.counts.stats(state.crew.threads(), state.crew.busy(), state.queue.len(), oldest)
    }

    fn start(self: &Arc<Self>) {
        let mut state = self.lock();
        state.started += 1;
        let name = format!("{}-{}", self.config.name, state.started);
        drop(state); // starting a thread takes longer than most jobs
        let mut builder = thread::Builder::new().name(name);
        if let Some(size) = self.config.stack_size {
            builder = builder.stack_size(size);
        }
        let workers = self.clone();
        if let Err(error) = builder.spawn(move || workers.work()) {
            self.not_started(error);
        }
    }

    /// Where there is no thread at all, nobody would ever run the jobs that wait.
    fn not_started(self: &Arc<Self>, error: io::Error) {
        let mut state = self.lock();
        let waiting = state.queue.len();
        let instead = state.crew.start_failed(waiting);
        let refused = if state.crew.threads() == 0 { state.take_queue() } else { Vec::new() };
        state.counts.refused += refused.len() as u64;
        self.note_waiting(&state);
        let later = Later { room: state.room(self.config.queue_limit), enders: state.ended(), ..Later::default() };
        drop(state);
        if let Some(sleeper) = instead {
            sleeper.unpark();
        }
        self.see_to(later);
        let why = SpawnFailed::new(error);
        send_home(refused, || why.clone().into());
    }

    /// What a thread of the pool does.
    fn work(self: Arc<Self>) {
        call_hook(self.config.on_thread_start.as_ref());
        let me = Sleeper::new(current());
        let (seat, told) = self.lock().sit();
        let mut lingers = self.config.linger.is_some();
        loop {
            let mut state = self.lock();
            if state.crew.is_too_large() || (state.stopped && state.queue.len() == 0) {
                state.crew.leave();
                break;
            }
            if let Some(entry) = state.queue.pop() {
                state.crew.begin_job();
                let waiting = self.note_waiting(&state);
                let summons = state.crew.summon(waiting);
                let watch = state.is_unwatched();
                let (number, task) = state.begin(seat, entry, Instant::now());
                drop(state);
                self.see_to(Later { summons, watch, ..Later::default() });
                self.run(number, task, seat, &told);
                lingers = self.config.linger.is_some();
            } else if lingers {
                drop(state);
                self.linger();
                lingers = false;
            } else {
                state.crew.fall_asleep(&me);
                let alarm = state.crew.has_alarm(&me);
                drop(state);
                if !self.sleep(&me, alarm) {
                    break;
                }
                lingers = self.config.linger.is_some();
            }
        }
        if let Some(close) = self.config.at_thread_end {
            close();
        }
        call_hook(self.config.on_thread_end.as_ref());
        let mut state = self.lock();
        state.seats[seat].is_free = true;
        let waiting = state.queue.len();
        let later = Later { summons: state.crew.left(waiting), enders: state.ended(), ..Later::default() };
        drop(state);
        self.see_to(later);
    }

    /// Runs jobs as long as there are any.
    fn run(self: &Arc<Self>, mut number: u64, mut task: Box<dyn Task>, seat: usize, told: &AtomicU64) {
        loop {
            let ending = task.run(&Job::new(told, number));
            let now = Instant::now();
            let mut state = self.lock();
            let Running { slip, given_up, .. } = state.finish(seat, ending, now);
            let next = if state.crew.is_too_large() { None } else { state.queue.pop() };
            let next = match next {
                None => {
                    state.crew.end_job();
                    None
                }
                Some(entry) => {
                    self.note_waiting(&state);
                    Some(state.begin(seat, entry, now))
                }
            };
            let room = state.room(self.config.queue_limit);
            drop(state);
            if given_up {
                drop_guarded(task);
            } else {
                take_home(slip, task);
            }
            self.see_to(Later { room, ..Later::default() });
            match next {
                None => return,
                Some(next) => (number, task) = next,
            }
        }
    }

    /// Until somebody is to come. False if this thread has slept for its keep-alive and is leaving.
    fn sleep(&self, me: &Arc<Sleeper>, mut alarm: bool) -> bool {
        let since = Instant::now();
        loop {
            let left = if alarm { self.config.keep_alive.saturating_sub(since.elapsed()) } else { Duration::MAX };
            step();
            if !alarm {
                thread::park();
            } else if !left.is_zero() {
                thread::park_timeout(left);
            }
            let mut state = self.lock();
            if !me.is_asleep() {
                return true;
            }
            alarm = state.crew.has_alarm(me);
            if alarm && since.elapsed() >= self.config.keep_alive {
                let next = state.crew.leave_asleep();
                drop(state);
                if let Some(next) = next {
                    next.unpark();
                }
                return false;
            }
        }
    }

    /// Spins for a moment, as long as there is no job.
    fn linger(&self) {
        let Some(time) = self.config.linger else { return };
        let since = Instant::now();
        while since.elapsed() < time {
            // The clock takes longer than a look.
            for _ in 0..16 {
                if self.waiting.load(Ordering::Relaxed) > 0 {
                    return;
                }
                hint::spin_loop();
            }
        }
    }
}

impl State {
    /// A new thread takes a seat.
    fn sit(&mut self) -> (usize, Arc<AtomicU64>) {
        let free = self.seats.iter().position(|seat| seat.is_free);
        let seat = free.unwrap_or_else(|| {
            self.seats.push(Seat { is_free: true, told: Arc::new(AtomicU64::new(u64::MAX)), runs: None });
            self.seats.len() - 1
        });
        self.seats[seat].is_free = false;
        (seat, self.seats[seat].told.clone())
    }

    /// The thread on this seat begins a job.
    #[inline]
    fn begin(&mut self, seat: usize, entry: Entry, now: Instant) -> (u64, Box<dyn Task>) {
        let Entry { number, task, slip } = entry;
        self.counts.waits.record(now.saturating_duration_since(slip.since));
        self.seats[seat].runs = Some(Running { number, slip, since: now, given_up: false });
        (number, task)
    }

    /// And ends it.
    #[inline]
    fn finish(&mut self, seat: usize, ending: Ending, now: Instant) -> Running {
        let running = self.seats[seat].runs.take().expect("it has begun a job");
        self.counts.runs.record(now.saturating_duration_since(running.since));
        if running.given_up {
            self.counts.abandoned -= 1;
        } else {
            self.counts.ended(ending);
        }
        running
    }

    /// Nobody waits for these jobs any more, which run on. Gives those who did.
    fn give_up(&mut self, which: impl Fn(&Running) -> bool) -> Vec<(Arc<dyn Owner>, Key)> {
        let mut owners = Vec::new();
        for seat in &mut self.seats {
            let Some(running) = seat.runs.as_mut().filter(|running| !running.given_up && which(running)) else {
                continue;
            };
            running.given_up = true;
            // ORDERING: a hint; nothing is published by it.
            seat.told.store(running.number, Ordering::Relaxed);
            self.counts.cancelled += 1;
            self.counts.abandoned += 1;
            owners.push((running.slip.owner.clone(), running.slip.key));
        }
        owners
    }
}

/// Wakes a driver perhaps, which is foreign code.
fn take_home(slip: Slip, task: Box<dyn Task>) {
    step();
    guarded(|| slip.owner.take_home(slip.key, task));
}

/// Jobs that were taken out, and will not run.
fn send_home(jobs: Vec<Entry>, why: impl Fn() -> Failure) {
    for job in jobs {
        step();
        guarded(|| job.refuse(why()));
    }
}

/// Why a job will not run.
fn stopped() -> Failure {
    Cancelled::because("the pool was stopped").into()
}

fn call_hook(hook: Option<&Hook>) {
    if let Some(hook) = hook {
        guarded(|| hook());
    }
}
