//! The NATS servers of a stage, and the proxy before or between them.

use beamline_test_support::{Nats, TcpProxy, free_port};

use crate::setting::{Apart, BusSetting};

#[derive(Debug)]
pub(crate) struct Buses {
    pub(crate) nats: Nats,
    /// The server of those who are apart, and who they are.
    other: Option<(Apart, Nats)>,
    /// Before the server, or between the two.
    proxy: Option<TcpProxy>,
}

impl Buses {
    pub(super) async fn start(setting: &BusSetting) -> Self {
        let nats = match setting {
            BusSetting::Direct | BusSetting::Proxied => Nats::start().await,
            BusSetting::Configured(configuration) => Nats::start_configured(configuration).await,
            BusSetting::Apart(apart) => return Self::cluster(*apart).await,
        };
        let mut buses = Self {
            nats,
            other: None,
            proxy: None,
        };
        if *setting == BusSetting::Proxied {
            buses.proxy = Some(TcpProxy::start(buses.nats.address()).await);
        }
        buses
    }

    /// Two servers with one route between them, through the proxy. The second one makes it, again
    /// and again.
    async fn cluster(apart: Apart) -> Self {
        let port = free_port();
        let listen = format!("listen: \"127.0.0.1:{port}\"");
        let nats = Nats::start_in_cluster(&format!("cluster {{ name: chaos, {listen} }}")).await;
        let proxy = TcpProxy::start(&format!("127.0.0.1:{port}")).await;

        let listen = format!("listen: \"127.0.0.1:{}\"", free_port());
        let route = format!("routes: [\"{}\"]", proxy.nats_url());
        let cluster = format!("cluster {{ name: chaos, {listen}, {route} }}");
        // A lame duck waits for so long before it ends the connections of its clients.
        let lame_duck = "lame_duck_grace_period: \"5s\", lame_duck_duration: \"30s\"";
        let other = Nats::start_in_cluster(&format!("{cluster}\n{lame_duck}")).await;
        Self {
            nats,
            other: Some((apart, other)),
            proxy: Some(proxy),
        }
    }

    pub(super) fn url_for_routers(&self) -> String {
        match (&self.other, &self.proxy) {
            (None, Some(proxy)) => proxy.nats_url(),
            _ => self.of(Apart::Routers).url().to_owned(),
        }
    }

    /// The server on which these are.
    pub(super) fn of(&self, who: Apart) -> &Nats {
        match &self.other {
            Some((apart, nats)) if *apart == who => nats,
            _ => &self.nats,
        }
    }

    /// Of a scenario that has one.
    pub(crate) fn proxy(&self) -> &TcpProxy {
        self.proxy.as_ref().expect("a proxy")
    }

    pub(crate) fn proxy_mut(&mut self) -> &mut TcpProxy {
        self.proxy.as_mut().expect("a proxy")
    }

    /// The second server, of a scenario that has one.
    pub(crate) fn other(&self) -> &Nats {
        &self.other.as_ref().expect("two servers").1
    }
}
