//! Stands in for the router until it is there.

use std::net::SocketAddr;

use crate::config::Config;

pub(super) struct Router(SocketAddr);

pub(super) struct StopReport {
    pub(super) cut: u64,
}

impl Router {
    #[expect(clippy::unused_async, reason = "starting waits for NATS and the database")]
    pub(super) async fn start(config: Config) -> Result<Self, String> {
        let _listen = Self(config.http.listen);
        Err("the router is not built yet.".to_owned())
    }

    pub(super) fn http_address(&self) -> SocketAddr {
        self.0
    }

    pub(super) async fn ended(&mut self) {
        std::future::pending::<()>().await;
    }

    #[expect(clippy::unused_async, reason = "stopping drains")]
    pub(super) async fn stop(self) -> StopReport {
        StopReport { cut: 0 }
    }
}

impl StopReport {
    pub(super) fn clean(&self) -> bool {
        self.cut == 0
    }
}
