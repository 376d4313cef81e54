//! Pauses, dead extensions and partial failures in virtual time: what opens a breaker, and how
//! soon. The tables are those of decision 22; `--nocapture` prints them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use beamline_contract::record::{BreakerOverrides, Kind};

mod tables;

/// An extension and those who call it.
#[derive(Debug, Clone, Copy)]
struct Scene {
    kind: Kind,
    timeout: Duration,
    /// What a call has, whose request has less time left.
    limit: Duration,
    /// What an answer takes.
    latency: Duration,
    load: Load,
    fault: Fault,
    /// When the fault begins.
    begins: Duration,
    lasts: Duration,
    tenants: u64,
}

#[derive(Debug, Clone, Copy)]
enum Load {
    /// So many callers, each with its next call right after its last.
    InFlight(u32),
    /// Calls a second, whatever becomes of them.
    PerSecond(f64),
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It stands still for a while. Then it works off what has come in, expired or not: one second
    /// of calls takes this part of a second.
    Stall { backlog: f64 },
    /// It answers nothing any more.
    Silent,
    /// It fails at once.
    Failing,
    /// A part of the calls, in percent, gets no answer or an error.
    Partly { percent: u32, silent: bool },
    /// Those of the first tenant get an error.
    OneTenant,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Since the fault began.
    opened_after: Option<Duration>,
    /// Calls that failed before that.
    failed: u32,
    /// When five failures in a row would have opened it, each by itself.
    each_by_itself: Option<Duration>,
    refused_others: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A call ends: number in the list of those under way.
    End(usize),
    Arrives,
}

struct World {
    scene: Scene,
    settings: Settings,
    breaker: Breaker,
    start: Instant,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    under_way: Vec<Option<(Permit, Outcome, Duration)>>,
    free: Vec<usize>,
    calls: u64,
    in_a_row: u32,
    seed: u64,
    seen: Seen,
}

impl Scene {
    fn play(self, seed: u64) -> Seen {
        let mut written = BreakerOverrides::default();
        written.set(beamline_contract::record::BreakerSetting::Jitter, 0);
        let mut world = World {
            scene: self,
            settings: Settings::new(self.kind, self.timeout, &written),
            breaker: Breaker::default(),
            start: Instant::now(),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            under_way: Vec::new(),
            free: Vec::new(),
            calls: 0,
            in_a_row: 0,
            seed,
            seen: Seen::default(),
        };
        match self.load {
            Load::PerSecond(_) => world.at(Duration::ZERO, Event::Arrives),
            Load::InFlight(callers) => {
                // Not all in step.
                let apart = self.latency / callers;
                (0..callers).for_each(|caller| world.at(apart * caller, Event::Arrives));
            }
        }
        world.run();
        world.seen
    }

    fn ends(&self) -> Duration {
        self.begins + self.lasts
    }
}

impl World {
    fn at(&mut self, when: Duration, event: Event) {
        self.events.push(Reverse((when, event)));
    }

    fn run(&mut self) {
        let over = self.scene.ends() + self.scene.timeout * 2;
        while let Some(Reverse((when, event))) = self.events.pop() {
            if when > over || self.is_decided() {
                return;
            }
            self.now = when;
            match event {
                Event::Arrives => self.arrives(),
                Event::End(call) => self.ends(call),
            }
        }
    }

    fn is_decided(&self) -> bool {
        self.seen.opened_after.is_some() && !matches!(self.scene.fault, Fault::OneTenant)
    }

    /// Uniform in 0..1: a step of SplitMix64.
    fn dice(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn arrives(&mut self) {
        if let Load::PerSecond(rate) = self.scene.load {
            self.at(
                self.now + Duration::from_secs_f64(1.0 / rate),
                Event::Arrives,
            );
        }
        self.calls += 1;
        let turn = self.calls % self.scene.tenants;
        let tenant = Tenant::of(&turn.to_string());
        let now = self.start + self.now;
        let permit = self
            .breaker
            .check(tenant, Mode::Normal, &self.settings, now, 0.5);
        let Ok(permit) = permit else {
            self.seen.refused_others += u32::from(turn != 0);
            if let Load::InFlight(_) = self.scene.load {
                self.at(self.now + self.scene.timeout, Event::Arrives);
            }
            return;
        };
        let (outcome, took) = self.fate(turn);
        let place = self.free.pop().unwrap_or_else(|| {
            self.under_way.push(None);
            self.under_way.len() - 1
        });
        self.under_way[place] = Some((permit, outcome, took));
        self.at(self.now + took, Event::End(place));
    }

    /// How a call that begins now ends, and after what time.
    fn fate(&mut self, tenant: u64) -> (Outcome, Duration) {
        let Scene {
            limit,
            latency,
            fault,
            begins,
            ..
        } = self.scene;
        let usual = latency.mul_f64(0.8 + 0.4 * self.dice());
        let in_fault = self.now + usual > begins && self.now < self.scene.ends();
        let is_in_doubt = self.dice();
        let at_once = Duration::from_millis(1);
        let took = match fault {
            Fault::Stall { backlog } if self.now + usual > begins => {
                // The queue is empty again when what has come in since is worked off.
                let waited = self.now.saturating_sub(begins).mul_f64(backlog);
                let answered = (self.scene.ends() + waited).max(self.now) + usual.mul_f64(0.1);
                (answered - self.now).max(usual)
            }
            Fault::Silent if in_fault => Duration::MAX,
            Fault::Failing if in_fault => return (Outcome::Failure, at_once),
            Fault::OneTenant if in_fault && tenant == 0 => return (Outcome::Failure, at_once),
            Fault::Partly { percent, silent }
                if in_fault && is_in_doubt * 100.0 < f64::from(percent) =>
            {
                if !silent {
                    return (Outcome::Failure, usual);
                }
                Duration::MAX
            }
            Fault::Stall { .. } | Fault::Silent | Fault::Failing => usual,
            Fault::Partly { .. } | Fault::OneTenant => usual,
        };
        if took > limit {
            (Outcome::Timeout, limit)
        } else {
            (Outcome::Success, took)
        }
    }

    fn ends(&mut self, place: usize) {
        let Some((permit, outcome, took)) = self.under_way[place].take() else {
            return;
        };
        self.free.push(place);
        let now = self.start + self.now;
        self.breaker.record(
            permit,
            CallEnd::new(outcome, took),
            &self.settings,
            now,
            0.5,
        );
        let since = self.now.saturating_sub(self.scene.begins);
        self.in_a_row = if outcome.is_failure() {
            self.in_a_row + 1
        } else {
            0
        };
        if self.seen.opened_after.is_none() {
            self.seen.failed += u32::from(outcome.is_failure());
        }
        if self.in_a_row >= self.settings.consecutive_failures {
            self.seen.each_by_itself.get_or_insert(since);
        }
        if !self.breaker.is_closed(now) {
            self.seen.opened_after.get_or_insert(since);
        }
        if let Load::InFlight(_) = self.scene.load {
            self.at(self.now, Event::Arrives);
        }
    }
}
