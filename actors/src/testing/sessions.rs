//! A store of sessions that can be taken away, made to hang, and given back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;

use crate::ports::{SessionChange, SessionStore, SessionStoreError};
use beamline_domain::session::{Pin, SessionKey, Stored};

/// Several `Sessions` over one of these are several replicas.
#[derive(Debug, Default)]
pub struct MemorySessions {
    state: Mutex<State>,
    /// Whoever reads the next change panics.
    panics: Arc<AtomicBool>,
    cut_off: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    pins: HashMap<SessionKey, Stored>,
    revision: u64,
    away: bool,
    hangs: bool,
    opens: usize,
    reads: usize,
    writes: usize,
    followers: Vec<UnboundedSender<SessionChange>>,
}

impl MemorySessions {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Everything fails, and whoever follows the changes hears that they are lost.
    pub fn set_away(&self, away: bool) {
        let mut state = self.state.lock();
        state.away = away;
        if away {
            state.followers.clear();
        }
    }

    /// Nothing is answered, and nobody hears of it.
    pub fn set_hanging(&self, hangs: bool) {
        self.state.lock().hangs = hangs;
    }

    /// Whoever follows the changes panics at the next one, once.
    pub fn set_panicking(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// There is no connection. Nobody tries to open it then.
    pub fn set_cut_off(&self, cut_off: bool) {
        self.cut_off.send_replace(cut_off);
    }

    /// How often somebody has opened it, or tried to.
    pub fn opens(&self) -> usize {
        self.state.lock().opens
    }

    /// What is stored under the key, expired or not.
    pub fn pin_of(&self, key: &SessionKey) -> Option<Pin> {
        self.state
            .lock()
            .pins
            .get(key)
            .map(|stored| stored.pin.clone())
    }

    /// How often somebody has asked.
    pub fn reads(&self) -> usize {
        self.state.lock().reads
    }

    /// How often somebody has written, or tried to.
    pub fn writes(&self) -> usize {
        self.state.lock().writes
    }

    /// Forgets everything, as a store in memory whose server was started again.
    pub fn clear(&self) {
        self.state.lock().pins.clear();
    }

    fn present<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&mut State) -> Result<T, SessionStoreError>,
    ) -> BoxFuture<'static, Result<T, SessionStoreError>> {
        let mut state = self.state.lock();
        if state.hangs {
            return pending().boxed();
        }
        let answer = if state.away {
            Err(SessionStoreError::Away("away".into()))
        } else {
            answer(&mut state)
        };
        async move {
            // Others get a turn between a question and its answer, as on a network.
            tokio::task::yield_now().await;
            answer
        }
        .boxed()
    }
}

impl SessionStore for MemorySessions {
    fn reachable(&self) -> BoxFuture<'_, ()> {
        let mut cut_off = self.cut_off.subscribe();
        async move { drop(cut_off.wait_for(|cut_off| !cut_off).await) }.boxed()
    }

    fn open(&self) -> BoxFuture<'_, Result<BoxStream<'static, SessionChange>, SessionStoreError>> {
        self.state.lock().opens += 1;
        let panics = Arc::clone(&self.panics);
        self.present(|state| {
            let (follower, changes) = mpsc::unbounded_channel();
            state.followers.push(follower);
            let next = |mut changes: mpsc::UnboundedReceiver<_>| async {
                Some((changes.recv().await?, changes))
            };
            let changes = stream::unfold(changes, next);
            let looked_at = changes.inspect(move |_| {
                assert!(!panics.swap(false, Ordering::SeqCst), "planned panic");
            });
            Ok(looked_at.boxed())
        })
    }

    fn get<'a>(
        &'a self,
        key: &'a SessionKey,
    ) -> BoxFuture<'a, Result<Option<Stored>, SessionStoreError>> {
        self.present(|state| {
            state.reads += 1;
            Ok(state.pins.get(key).cloned())
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a SessionKey,
        pin: &'a Pin,
        over: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, SessionStoreError>> {
        self.present(|state| {
            state.writes += 1;
            if state.pins.get(key).map(|stored| stored.revision) != over {
                return Err(SessionStoreError::Conflict);
            }
            state.revision += 1;
            let stored = Stored {
                pin: pin.clone(),
                revision: state.revision,
            };
            state.pins.insert(key.clone(), stored.clone());
            let change = SessionChange {
                key: key.clone(),
                stored,
            };
            state
                .followers
                .retain(|follower| follower.send(change.clone()).is_ok());
            Ok(state.revision)
        })
    }
}
