//! Cores on both drivers: woken by foreign threads, supervised, drained. Each test waits for what it wants to see; the
//! timeout only bounds a failure.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::time::Duration;

use miroir_rt::{sleep, spawn, start, usable_drivers, Core, CoresConfig, PostError};

/// Long enough for the slowest machine; reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the test on each driver that this machine can run.
fn on_both_drivers(test: impl Fn(CoresConfig)) {
    for driver in usable_drivers() {
        test(CoresConfig {
            cores: 2,
            driver,
            ..CoresConfig::default()
        });
    }
}

fn next<T>(receiver: &Receiver<T>) -> T {
    receiver
        .recv_timeout(PATIENCE)
        .expect("the core never answered")
}

async fn until_shutdown(core: Core) {
    core.shutdown.wait().await;
}

/// The core has no timer running and nothing else to do, so each message finds it asleep in the kernel: one lost wake-up
/// and the test hangs.
#[test]
fn a_sleeping_core_is_woken_by_a_foreign_thread() {
    on_both_drivers(|config| {
        let (hello, started) = channel();
        let cores = start(config, move |core| {
            let hello = hello.clone();
            async move {
                let (sender, mut receiver) =
                    tokio::sync::mpsc::unbounded_channel::<std::sync::mpsc::Sender<usize>>();
                hello.send(sender).unwrap();
                while let Some(answer) = receiver.recv().await {
                    answer.send(core.id).unwrap();
                }
            }
        })
        .unwrap();
        let senders = [next(&started), next(&started)];
        for round in 0..2000 {
            let (answer, answered) = channel();
            senders[round % 2].send(answer).unwrap();
            next(&answered);
        }
        drop(senders);
        cores.join();
    });
}

#[test]
fn a_foreign_oneshot_wakes_a_core_and_a_core_wakes_a_foreign_thread() {
    on_both_drivers(|config| {
        let cores = start(config, until_shutdown).unwrap();
        for round in 0..500 {
            let mailbox = cores.mailbox(round % 2).unwrap();
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let (answer, answered) = channel();
            mailbox
                .post(move || {
                    spawn(async move {
                        answer.send(receiver.await.unwrap()).unwrap();
                    });
                })
                .unwrap();
            sender.send(round).unwrap();
            assert_eq!(next(&answered), round);
        }
        cores.shutdown(PATIENCE);
    });
}

#[test]
fn a_call_runs_on_the_named_core_and_fails_once_it_has_ended() {
    on_both_drivers(|config| {
        let cores = start(config, until_shutdown).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for core in 0..2 {
            let mailbox = cores.mailbox(core).unwrap();
            let name =
                runtime.block_on(mailbox.call(|| std::thread::current().name().map(str::to_owned)));
            assert_eq!(name.unwrap().unwrap(), format!("core-{core}"));
            let panicked =
                runtime.block_on(mailbox.call(|| -> usize { panic!("in a mailbox job") }));
            assert_eq!(panicked, Err(PostError::Ended));
            assert_eq!(
                runtime.block_on(mailbox.call(|| 7)),
                Ok(7),
                "the core lives on"
            );
        }
        let mailbox = cores.mailbox(0).unwrap();
        assert!(cores.mailbox(2).is_none());
        cores.shutdown(PATIENCE);
        assert_eq!(mailbox.post(|| {}), Err(PostError::Ended));
        assert_eq!(runtime.block_on(mailbox.call(|| 7)), Err(PostError::Ended));
    });
}

#[test]
fn a_panicking_task_leaves_its_core_alone() {
    on_both_drivers(|config| {
        let cores = start(config, until_shutdown).unwrap();
        let (answer, answered) = channel();
        cores
            .mailbox(0)
            .unwrap()
            .post(move || {
                spawn(async { panic!("at once") });
                spawn(async {
                    sleep(Duration::from_millis(1)).await;
                    panic!("after a while");
                });
                spawn(async move {
                    sleep(Duration::from_millis(20)).await;
                    answer.send(()).unwrap();
                });
            })
            .unwrap();
        next(&answered);
        assert_eq!((cores.stats().panics, cores.stats().core_restarts), (2, 0));
        cores.shutdown(PATIENCE);
    });
}

#[test]
fn a_panicking_main_starts_again_and_its_tasks_live_on() {
    on_both_drivers(|config| {
        let config = CoresConfig { cores: 1, ..config };
        let starts = Arc::new(AtomicUsize::new(0));
        let (note, notes) = channel();
        let cores = start(config, move |core| {
            let (starts, note) = (starts.clone(), note.clone());
            async move {
                if starts.fetch_add(1, Ordering::SeqCst) == 0 {
                    let shutdown = core.shutdown.clone();
                    spawn(async move {
                        shutdown.wait().await;
                        note.send("task of the first main").unwrap();
                    });
                    panic!("the first main");
                }
                note.send("second main").unwrap();
                core.shutdown.wait().await;
            }
        })
        .unwrap();
        assert_eq!(next(&notes), "second main");
        assert_eq!(cores.stats().core_restarts, 1);
        cores.shutdown(PATIENCE);
        assert_eq!(next(&notes), "task of the first main");
    });
}

#[test]
fn a_reactor_that_is_unwound_is_replaced() {
    on_both_drivers(|config| {
        let config = CoresConfig { cores: 1, ..config };
        let (note, notes) = channel();
        let cores = start(config, move |core| {
            let note = note.clone();
            async move {
                note.send(()).unwrap();
                core.shutdown.wait().await;
            }
        })
        .unwrap();
        next(&notes);
        // Nobody should use monoio's own spawn; this is what happens when somebody does.
        cores
            .mailbox(0)
            .unwrap()
            .post(|| drop(monoio::spawn(async { panic!("unguarded") })))
            .unwrap();
        next(&notes);
        assert_eq!(cores.stats().core_restarts, 1);
        let (answer, answered) = channel();
        cores
            .mailbox(0)
            .unwrap()
            .post(move || answer.send(()).unwrap())
            .unwrap();
        next(&answered);
        cores.shutdown(PATIENCE);
    });
}

#[test]
fn a_shutdown_waits_for_tasks() {
    on_both_drivers(|config| {
        let (note, notes) = channel();
        let (release, released) = tokio::sync::watch::channel(false);
        let cores = start(config, move |core| {
            let (note, mut released) = (note.clone(), released.clone());
            async move {
                let finished = note.clone();
                spawn(async move {
                    released.wait_for(|released| *released).await.unwrap();
                    finished.send("finished").unwrap();
                });
                core.shutdown.wait().await;
                note.send("shutting down").unwrap();
            }
        })
        .unwrap();
        cores.begin_shutdown(PATIENCE);
        assert_eq!([next(&notes), next(&notes)], ["shutting down"; 2]);
        release.send(true).unwrap();
        cores.join();
        assert_eq!([next(&notes), next(&notes)], ["finished"; 2]);
    });
}

#[test]
fn a_shutdown_cuts_off_what_does_not_end() {
    on_both_drivers(|config| {
        let cores = start(config, |core| async move {
            spawn(std::future::pending());
            core.shutdown.wait().await;
            std::future::pending::<()>().await;
        })
        .unwrap();
        cores.shutdown(Duration::from_millis(20));
    });
}

#[test]
fn cores_end_by_themselves_when_main_and_tasks_have() {
    on_both_drivers(|config| {
        let cores = start(config, |_| async { spawn(sleep(Duration::from_millis(5))) }).unwrap();
        cores.join();
    });
}
