//! The publication protocol under the interleavings (up to three preemptions) and reorderings that the memory model allows.
//!
//!     RUSTFLAGS="--cfg loom" cargo test -p miroir-router --release --test loom
//!
//! Each model keeps a cell that old requests read and that the control plane writes once `quiesced` has resolved, as
//! backfill would: loom reports any execution in which a read is not over, in the sense of the memory model, before
//! the write. A lost wake-up shows as a deadlock.
#![cfg(loom)]

use std::collections::HashMap;

use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::sync::{Arc, Notify};
use loom::thread;
use miroir_router::{Layout, Publisher, Reader, RoutingTable};

#[test]
fn a_core_that_goes_from_idle_to_busy() {
    model(|publisher, old_data| {
        let core = on_a_core(publisher.clone(), {
            let old_data = old_data.clone();
            move |reader| request(reader, &old_data)
        });
        publish_and_clear(&publisher, &old_data);
        core.join().unwrap();
    });
}

#[test]
fn a_core_with_overlapping_requests() {
    model(|publisher, old_data| {
        let core = on_a_core(publisher.clone(), {
            let old_data = old_data.clone();
            move |reader| {
                let first = reader.pin();
                let second = reader.pin();
                assert!(second.epoch >= first.epoch);
                drop(first);
                read_if_old(second.epoch, &old_data);
                drop(second);
                request(reader, &old_data);
            }
        });
        publish_and_clear(&publisher, &old_data);
        core.join().unwrap();
    });
}

/// An idle core shows the older epoch for a moment while it takes up the newer one, and may then be busy for good.
#[test]
fn a_core_that_is_busy_from_then_on() {
    model(|publisher, old_data| {
        let over = Arc::new(Notify::new());
        let core = on_a_core(publisher.clone(), {
            let over = over.clone();
            move |reader| {
                let request = reader.pin();
                if request.epoch == 1 {
                    over.wait();
                }
            }
        });
        publish_and_clear(&publisher, &old_data);
        over.notify();
        core.join().unwrap();
    });
}

#[test]
fn two_cores() {
    model(|publisher, old_data| {
        let cores = [0, 1].map(|_| {
            on_a_core(publisher.clone(), {
                let old_data = old_data.clone();
                move |reader| request(reader, &old_data)
            })
        });
        publish_and_clear(&publisher, &old_data);
        for core in cores {
            core.join().unwrap();
        }
    });
}

#[test]
fn two_waiters_for_two_epochs() {
    model(|publisher, old_data| {
        let other = thread::spawn({
            let publisher = publisher.clone();
            move || block_on(publisher.quiesced(1))
        });
        let core = on_a_core(publisher.clone(), {
            let old_data = old_data.clone();
            move |reader| request(reader, &old_data)
        });
        publish_and_clear(&publisher, &old_data);
        core.join().unwrap();
        other.join().unwrap();
    });
}

fn model(body: impl Fn(Publisher, Arc<UnsafeCell<u32>>) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Three involuntary switches find nearly all bugs (CHESS, Musuvathi and Qadeer, 2007) and keep this within seconds.
    builder.preemption_bound = Some(3);
    builder.check(move || body(Publisher::new(table()), Arc::new(UnsafeCell::new(0))));
}

fn on_a_core(publisher: Publisher, body: impl FnOnce(&Reader) + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || body(&publisher.reader()))
}

fn request(reader: &Reader, old_data: &UnsafeCell<u32>) {
    let pinned = reader.pin();
    read_if_old(pinned.epoch, old_data);
}

fn read_if_old(epoch: u64, old_data: &UnsafeCell<u32>) {
    if epoch == 0 {
        // SAFETY: loom checks, at this very place, that no write is concurrent; that is the test.
        #[allow(unsafe_code)]
        old_data.with(|data| assert_eq!(unsafe { *data }, 0));
    }
}

fn publish_and_clear(publisher: &Publisher, old_data: &UnsafeCell<u32>) {
    let epoch = publisher.publish(table());
    block_on(publisher.quiesced(epoch));
    // SAFETY: as above.
    #[allow(unsafe_code)]
    old_data.with_mut(|data| unsafe { *data = 1 });
}

fn table() -> RoutingTable {
    let layout = Layout {
        version: 1,
        shards: 0,
        replication_factor: 1,
        replica_groups: 1,
        nodes: Vec::new(),
        copies: Vec::new(),
    };
    RoutingTable {
        epoch: 0,
        nodes: Vec::new(),
        indexes: HashMap::default(),
        layout: std::sync::Arc::new(layout),
        keys: Default::default(),
        search_rules: false,
    }
}
