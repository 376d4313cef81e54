//! One connection through a proxy, in whatever weather.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Weather;

/// Small enough for a narrow link to be smooth.
const PIECE: usize = 16 * 1024;

enum End {
    Closed,
    Reset,
    HalfOpen,
}

/// Carries bytes both ways until both ends have closed, or the weather ends it.
pub(super) async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    mut weather: watch::Receiver<Weather>,
) {
    let resets = weather.borrow().resets;
    let to_server = weather.clone();
    let to_client = weather.clone();
    let end = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let both = async {
            tokio::join!(
                pump(client_reads, server_writes, to_server, |now| now
                    .hole_to_server),
                pump(server_reads, client_writes, to_client, |now| now
                    .hole_from_server),
            )
        };
        tokio::select! {
            _ended = both => End::Closed,
            changed = weather.wait_for(|now| now.resets != resets || now.half_open) => match changed {
                Ok(now) if now.half_open => End::HalfOpen,
                Ok(_) | Err(_) => End::Reset,
            },
        }
    };
    match end {
        End::Closed => {}
        End::Reset => {
            // A socket that is dropped with this option sends a reset instead of an orderly end.
            let _closed_already = (client.set_zero_linger(), server.set_zero_linger());
        }
        End::HalfOpen => {
            drop(server);
            let _proxy_gone = weather.wait_for(|now| !now.half_open).await;
        }
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
    hole: impl Fn(&Weather) -> bool,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let size = from.read(&mut piece).await?;
        if size == 0 {
            return to.shutdown().await;
        }
        let mut rest = &piece[..size];
        while !rest.is_empty() {
            let Ok(now) = weather.wait_for(|now| !hole(now)).await.map(|now| *now) else {
                return Ok(());
            };
            let (slice, later) = rest.split_at(now.slice.unwrap_or(size).min(rest.len()));
            let travel = now.bytes_per_second.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(
                    f64::from(u32::try_from(slice.len()).unwrap_or(u32::MAX)) / f64::from(rate),
                )
            });
            if now.latency + travel > Duration::ZERO {
                sleep(now.latency + travel).await;
            }
            to.write_all(slice).await?;
            rest = later;
        }
    }
}
