//! What the log says of the calls of an extension.

use tokio::time::Instant;

use super::failures::{TELL_EVERY, Untold};
use super::{Finished, InvokerMsg, InvokerState};

impl InvokerState {
    /// One line for each call, with the fields of contract section 7; of failures that are alike
    /// one line in a while.
    pub(super) fn log(&mut self, finished: &Finished) {
        let Finished {
            trace_id,
            tenant_id,
            status,
            ..
        } = finished;
        let extension_id = &*self.invoker.id;
        let latency_ms = beamline_contract::time::milliseconds(finished.latency);
        let Some((reason, error)) = &finished.failure else {
            tracing::debug!(extension_id, %trace_id, %tenant_id, latency_ms, status, "extension called");
            return;
        };
        match self.failures.add(reason, tenant_id, Instant::now()) {
            Some(more) => {
                let more = Some(more).filter(|more| *more > 0);
                tracing::warn!(extension_id, %trace_id, %tenant_id, latency_ms, status, error, more, "extension call failed");
            }
            None => {
                tracing::debug!(extension_id, %trace_id, %tenant_id, latency_ms, status, error, "extension call failed");
            }
        }
        self.tell_later();
    }

    /// How many failed since the last line about them.
    pub(super) fn tell(&mut self) {
        self.telling = false;
        for untold in self.failures.untold(Instant::now()) {
            let Untold {
                reason,
                tenant_id,
                tenants,
                more,
            } = untold;
            let extension_id = &*self.invoker.id;
            let tenant_id = tenant_id.as_deref();
            tracing::warn!(
                extension_id,
                tenant_id,
                tenants,
                reason,
                more,
                "more extension calls failed"
            );
        }
        if self.failures.is_waiting() {
            self.tell_later();
        }
    }

    fn tell_later(&mut self) {
        if !std::mem::replace(&mut self.telling, true) {
            self.invoker
                .address
                .send_after(TELL_EVERY, InvokerMsg::Tell);
        }
    }
}
