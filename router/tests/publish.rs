//! Publication and its grace period, seen from outside, with real threads. Every interleaving is in `loom.rs`.
#![cfg(not(loom))]

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use miroir_router::{Layout, LayoutNode, LayoutSpec, Publisher, RoutingTable};

fn table() -> RoutingTable {
    let nodes = vec![LayoutNode {
        id: "a".into(),
        group: 0,
        weight: 1,
        zone: None,
    }];
    let spec = LayoutSpec {
        shards: 1,
        replication_factor: 1,
        replica_groups: 1,
        nodes,
    };
    let layout = Arc::new(Layout::plan(&spec, None).unwrap());
    RoutingTable {
        epoch: 0,
        nodes: Vec::new(),
        indexes: HashMap::default(),
        layout,
        keys: Default::default(),
        search_rules: false,
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_request_keeps_its_table_and_the_next_one_gets_the_new() {
    let publisher = Publisher::new(table());
    let reader = publisher.reader();
    let first = reader.pin();
    assert_eq!(publisher.publish(table()), 1);
    let second = reader.pin();
    assert_eq!(
        (first.epoch, second.epoch, publisher.current().epoch),
        (0, 1, 1)
    );
    assert_eq!(first.table().epoch, 0);
}

#[test]
fn the_grace_period_ends_with_the_last_old_request() {
    let publisher = Publisher::new(table());
    let (here, there) = (publisher.reader(), publisher.reader());
    let (old_1, old_2, old_3) = (here.pin(), here.pin(), there.pin());
    let epoch = publisher.publish(table());
    let new = here.pin();
    let mut quiesced = pin!(publisher.quiesced(epoch));
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    let mut poll = || quiesced.as_mut().poll(&mut context);
    assert_eq!(poll(), Poll::Pending);
    drop(old_2);
    assert_eq!(
        count.0.load(Ordering::SeqCst),
        0,
        "another old request runs on that core"
    );
    drop(old_1);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(poll(), Poll::Pending);
    drop(old_3);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert_eq!(poll(), Poll::Ready(()));
    drop(new);
}

#[test]
fn nobody_waits_for_cores_that_are_idle_or_gone_nor_for_epochs_that_are_over() {
    let publisher = Publisher::new(table());
    let idle = publisher.reader();
    drop(idle.pin());
    let gone = publisher.reader();
    let outlives_its_reader = gone.pin();
    drop(gone);
    let epoch = publisher.publish(table());
    let mut context = Context::from_waker(Waker::noop());
    let mut quiesced = pin!(publisher.quiesced(epoch));
    assert_eq!(quiesced.as_mut().poll(&mut context), Poll::Pending);
    drop(outlives_its_reader);
    assert_eq!(quiesced.as_mut().poll(&mut context), Poll::Ready(()));
    assert_eq!(
        pin!(publisher.quiesced(0)).poll(&mut context),
        Poll::Ready(())
    );
}

#[test]
fn an_epoch_that_is_not_published_yet_is_waited_for() {
    let publisher = Publisher::new(table());
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    let mut quiesced = pin!(publisher.quiesced(1));
    assert_eq!(quiesced.as_mut().poll(&mut context), Poll::Pending);
    publisher.publish(table());
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(quiesced.as_mut().poll(&mut context), Poll::Ready(()));
}

#[test]
fn under_load_no_old_request_outlives_the_grace_period() {
    let publisher = Publisher::new(table());
    // The newest epoch whose predecessors have been declared gone.
    let over = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = publisher.reader();
                let mut running = std::collections::VecDeque::new();
                while !stop.load(Ordering::Relaxed) {
                    running.push_back(reader.pin());
                    if running.len() > 3 {
                        let oldest = running.pop_front().unwrap();
                        assert!(oldest.epoch >= over.load(Ordering::SeqCst));
                    }
                    // Now and then the core is idle.
                    if running.back().is_some_and(|pinned| pinned.epoch % 7 == 3) {
                        running.clear();
                    }
                }
            });
        }
        for _ in 0..300 {
            let epoch = publisher.publish(table());
            block_on(publisher.quiesced(epoch));
            over.store(epoch, Ordering::SeqCst);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on(future: impl Future<Output = ()> + Send + 'static) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    while future.as_mut().poll(&mut context).is_pending() {
        std::thread::park();
    }
}
