//! The lane of the index: turns are given first come, first served (`control/src/lane.rs` does it with tokio's lock).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::runtime::{oneshot, Sender};

#[derive(Default)]
pub struct Lane {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    shared: usize,
    exclusive: bool,
    waiting: VecDeque<(bool, Sender<()>)>,
}

/// A turn; dropping it passes the lane on.
pub struct Turn {
    lane: Rc<Lane>,
    exclusive: bool,
}

impl Lane {
    pub async fn take(self: &Rc<Self>, exclusive: bool) -> Turn {
        let (sender, receiver) = oneshot();
        self.state
            .borrow_mut()
            .waiting
            .push_back((exclusive, sender));
        self.admit();
        receiver.await;
        Turn {
            lane: Rc::clone(self),
            exclusive,
        }
    }

    /// Whether nobody has a turn or waits for one.
    pub fn is_free(&self) -> bool {
        let state = self.state.borrow();
        !state.exclusive && state.shared == 0 && state.waiting.is_empty()
    }

    fn admit(&self) {
        loop {
            let next = {
                let mut state = self.state.borrow_mut();
                let Some((exclusive, _)) = state.waiting.front() else {
                    return;
                };
                let busy = state.exclusive || (*exclusive && state.shared > 0);
                if busy {
                    return;
                }
                let Some((exclusive, sender)) = state.waiting.pop_front() else {
                    return;
                };
                match exclusive {
                    true => state.exclusive = true,
                    false => state.shared += 1,
                }
                sender
            };
            next.send(());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.lane.state.borrow_mut();
            match self.exclusive {
                true => state.exclusive = false,
                false => state.shared -= 1,
            }
        }
        self.lane.admit();
    }
}
