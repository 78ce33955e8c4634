//! Queues and locks.

use std::hint::black_box;
use std::rc::Rc;

use deferred_core::{DeferredLock, DeferredQueue, inline_callbacks};
use smol::LocalExecutor;

use crate::sample::{Row, Side};

pub(crate) fn rows() -> Vec<Row> {
    vec![put_then_get(), get_then_put(), hand_over()]
}

const VALUES: u64 = 1000;

fn put_then_get() -> Row {
    Row {
        name: "sync/queue: put, get",
        per: VALUES as u32,
        unit: "value",
        ours: Side::new("put, get().await", || {
            let queue = DeferredQueue::<u64>::new();
            let sum = inline_callbacks(async move {
                let mut sum = 0;
                for _ in 0..VALUES {
                    queue.put(black_box(1))?;
                    sum += queue.get().await?;
                }
                Ok(sum)
            });
            black_box(sum.try_take().ok());
        }),
        peer: Side::new("async-channel: send().await, recv().await", || {
            let executor = LocalExecutor::new();
            let (sender, receiver) = async_channel::unbounded::<u64>();
            let sum = smol::future::block_on(executor.run(async move {
                let mut sum = 0;
                for _ in 0..VALUES {
                    sender.send(black_box(1)).await.expect("the receiver lives");
                    sum += receiver.recv().await.expect("the sender lives");
                }
                sum
            }));
            black_box(sum);
        }),
    }
}

fn get_then_put() -> Row {
    Row {
        name: "sync/queue: get waits, put",
        per: VALUES as u32,
        unit: "value",
        ours: Side::new("a coroutine gets, another puts", || {
            let queue = DeferredQueue::<u64>::new();
            let gets = queue.clone();
            let sum = inline_callbacks(async move {
                let mut sum = 0;
                while let Ok(value) = gets.get().await {
                    sum += value;
                }
                Ok(sum)
            });
            drop(inline_callbacks(async move {
                for _ in 0..VALUES {
                    queue.put(black_box(1))?;
                }
                queue.close();
                Ok(())
            }));
            black_box(sum.try_take().ok());
        }),
        peer: Side::new("async-channel of 1 between two local tasks", || {
            let executor = LocalExecutor::new();
            let (sender, receiver) = async_channel::bounded::<u64>(1);
            let task = executor.spawn(async move {
                let mut sum = 0;
                while let Ok(value) = receiver.recv().await {
                    sum += value;
                }
                sum
            });
            let puts = executor.spawn(async move {
                for _ in 0..VALUES {
                    sender.send(black_box(1)).await.expect("the receiver lives");
                }
            });
            let sum = smol::future::block_on(executor.run(async move {
                puts.await;
                task.await
            }));
            black_box(sum);
        }),
    }
}

/// The number of tasks that acquire the lock, and the acquisitions of each.
const HOLDERS: u64 = 10;
const ROUNDS: u64 = 100;

fn hand_over() -> Row {
    Row {
        name: "sync/lock: hand over",
        per: (HOLDERS * ROUNDS) as u32,
        unit: "hand-over",
        ours: Side::new("ten coroutines in turn", || {
            let lock = DeferredLock::new();
            let held = lock.try_acquire();
            let all: Vec<_> = (0..HOLDERS)
                .map(|_| {
                    let lock = lock.clone();
                    inline_callbacks(async move {
                        for _ in 0..ROUNDS {
                            let permit = lock.acquire().await?;
                            black_box(permit.count());
                        }
                        Ok(())
                    })
                })
                .collect();
            drop(held);
            assert!(all.into_iter().all(|deferred| deferred.try_take().is_ok()));
        }),
        peer: Side::new("async-lock, ten local tasks in turn", || {
            let executor = LocalExecutor::new();
            let lock = Rc::new(async_lock::Mutex::new(1));
            let held = lock.try_lock();
            let all: Vec<_> = (0..HOLDERS)
                .map(|_| {
                    let lock = lock.clone();
                    executor.spawn(async move {
                        for _ in 0..ROUNDS {
                            let guard = lock.lock().await;
                            black_box(*guard);
                            drop(guard);
                            // The peer is not fair by itself: the task that released the lock would
                            // acquire it again.
                            smol::future::yield_now().await;
                        }
                    })
                })
                .collect();
            while executor.try_tick() {} // until all of them wait
            drop(held);
            smol::future::block_on(executor.run(async {
                for task in all {
                    task.await;
                }
            }));
        }),
    }
}
