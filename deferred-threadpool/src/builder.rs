//! The settings of a pool to be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::ThreadPool;
use crate::stuck::StuckPool;

/// What threads call when they start and end.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// What hears of a pool that is stuck.
pub(crate) type StuckHook = Arc<dyn Fn(&StuckPool) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) min_threads: usize,
    pub(crate) max_threads: usize,
    pub(crate) keep_alive: Duration,
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
    pub(crate) queue_limit: usize,
    pub(crate) linger: Option<Duration>,
    pub(crate) on_thread_start: Option<Hook>,
    pub(crate) on_thread_end: Option<Hook>,
    /// What a thread closes before that.
    pub(crate) at_thread_end: Option<fn()>,
    pub(crate) stuck_after: Duration,
    pub(crate) on_stuck: Option<StuckHook>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("min_threads", &self.min_threads)
            .field("max_threads", &self.max_threads)
            .field("keep_alive", &self.keep_alive)
            .field("name", &self.name)
            .field("stack_size", &self.stack_size)
            .field("queue_limit", &self.queue_limit)
            .field("linger", &self.linger)
            .field("stuck_after", &self.stuck_after)
            .finish_non_exhaustive()
    }
}

/// The settings of a [`ThreadPool`] to be: made by [`ThreadPool::builder`].
#[derive(Clone, Debug)]
#[must_use = "call `build` to make the pool"]
pub struct ThreadPoolBuilder {
    config: Config,
}

impl ThreadPoolBuilder {
    pub(crate) fn new() -> ThreadPoolBuilder {
        ThreadPoolBuilder {
            config: Config {
                min_threads: 0,
                max_threads: 10,
                keep_alive: Duration::from_secs(10),
                name: "deferred-pool".into(),
                stack_size: None,
                queue_limit: usize::MAX,
                linger: None,
                on_thread_start: None,
                on_thread_end: None,
                at_thread_end: None,
                stuck_after: Duration::from_secs(10),
                on_stuck: None,
            },
        }
    }

    /// How many threads stay, once they were needed, however long there is no work: none unless
    /// set, which is as good as one. More than the maximum count as that.
    ///
    /// [`ThreadPool::adjust_pool_size`] changes it later.
    pub fn min_threads(mut self, min_threads: usize) -> Self {
        self.config.min_threads = min_threads;
        self
    }

    /// How many threads there are at most: 10 unless set, as in Twisted's reactor. With 0 jobs wait
    /// until [`ThreadPool::adjust_pool_size`] allows some.
    ///
    /// # One thread
    ///
    /// A pool of one thread is for a library that must always be called from the same one. The
    /// thread stays until the pool is stopped, so what the library keeps for it, or what jobs keep
    /// in a `thread_local!`, is there for the next job.
    pub fn max_threads(mut self, max_threads: usize) -> Self {
        self.config.max_threads = max_threads;
        self
    }

    /// How long a thread without work waits for some before it ends, where there are more than the
    /// minimum: 10 seconds unless set. They end one after the other. The last one stays until the
    /// pool ends, and costs nothing but its memory.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.config.keep_alive = keep_alive;
        self
    }

    /// What the threads are called, with a number behind it: `deferred-pool` unless set.
    ///
    /// # Panics
    ///
    /// If the name has a NUL character, with which no thread could be started.
    #[track_caller]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        assert!(!self.config.name.contains('\0'), "the name of a pool has no NUL character");
        self
    }

    /// The stack of each thread, in bytes: the standard library's default unless set.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// How many jobs wait at most, beyond those for which there is a thread: any number unless set.
    /// With 0 a job is taken only if a thread is free, or may be started, for it. One that comes
    /// when so many wait is refused: its Deferred has failed with [`QueueFull`](crate::QueueFull).
    /// Whoever would rather wait asks for [`ThreadPool::reserve`] first.
    ///
    /// A limit is what keeps a producer that is faster than the pool from filling the memory.
    pub fn queue_limit(mut self, jobs: usize) -> Self {
        self.config.queue_limit = jobs;
        self
    }

    /// Called by each thread when it starts, before its first job. A panic of it is printed and
    /// changes nothing.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.config.on_thread_start = Some(Arc::new(hook));
        self
    }

    /// Called by each thread when it ends, after its last job. A panic of it is printed and changes
    /// nothing.
    pub fn on_thread_end(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.config.on_thread_end = Some(Arc::new(hook));
        self
    }

    pub(crate) fn at_thread_end(mut self, close: fn()) -> Self {
        self.config.at_thread_end = Some(close);
        self
    }

    /// Lets a thread that has just run a job spin for so long before it sleeps: off unless set.
    ///
    /// It takes a job that comes meanwhile without having to be woken, and brings the result before
    /// the loop sleeps: where the two run on two processors, a short job took a fiftieth of the
    /// time (0.8 us in place of 46 us, on a virtual machine). It costs that much of a processor
    /// after each job; and where thread and loop share one processor, a job takes half as long
    /// again (6.5 us in place of 4.4 us), or more where the system moves them apart for it. The
    /// loop itself never spins. Of some use are a few microseconds up to a hundred.
    pub fn spin_before_sleep(mut self, time: Duration) -> Self {
        self.config.linger = Some(time);
        self
    }

    /// How long a job may wait while every thread is busy before the pool counts as stuck: 10
    /// seconds unless set.
    ///
    /// Then [`on_stuck`](Self::on_stuck) hears of it, once, and again when it is so anew: when the
    /// pool has kept up meanwhile, or all the jobs that waited then have begun.
    pub fn stuck_after(mut self, time: Duration) -> Self {
        self.config.stuck_after = time;
        self
    }

    /// What hears that the pool is stuck, with what its threads run: a line on standard error
    /// unless set.
    ///
    /// It is called in a thread of its own, which is there only while every thread is busy. A panic
    /// of it is printed and changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use deferred_threadpool::ThreadPool;
    ///
    /// let (sender, told) = mpsc::channel();
    /// let pool = ThreadPool::builder()
    ///     .max_threads(1)
    ///     .stuck_after(Duration::from_millis(5))
    ///     .on_stuck(move |stuck| drop(sender.send(stuck.clone())))
    ///     .build();
    /// let (release, released) = mpsc::channel();
    /// let hangs = pool.submit(move |_| Ok(released.recv()?));
    /// let waits = pool.submit(|_| Ok(()));
    /// let stuck = told.recv().unwrap();
    /// assert_eq!((stuck.queued, stuck.running.len()), (1, 1));
    /// release.send(()).unwrap();
    /// hangs.wait().and(waits.wait()).unwrap();
    /// ```
    pub fn on_stuck(mut self, hook: impl Fn(&StuckPool) + Send + Sync + 'static) -> Self {
        self.config.on_stuck = Some(Arc::new(hook));
        self
    }

    /// Makes the pool. No thread is started before the first job.
    pub fn build(mut self) -> ThreadPool {
        self.config.min_threads = self.config.min_threads.min(self.config.max_threads);
        ThreadPool::with(self.config)
    }
}
