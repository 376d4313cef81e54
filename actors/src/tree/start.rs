//! Starts an actor without waiting for it.

use ractor::{Actor, ActorCell, ActorId, ActorRef, ActorRuntime, SpawnErr};

/// Starts an actor that is linked to its supervisor as soon as it has started, and takes messages
/// at once. That it has started comes to the supervisor as an event. That it could not comes
/// through `not_started`, with the reason: nothing is linked by then, so ractor tells nobody.
pub fn start_linked<A: Actor>(
    actor: A,
    arguments: A::Arguments,
    supervisor: ActorCell,
    not_started: impl FnOnce(ActorId, String) + Send + 'static,
) -> Result<ActorRef<A::Msg>, SpawnErr> {
    let (actor, started) = ActorRuntime::spawn_linked_instant(None, actor, arguments, supervisor)?;
    let id = actor.get_id();
    tokio::spawn(async move {
        match started.await {
            Ok(Ok(_)) => {}
            Ok(Err(SpawnErr::StartupFailed(reason))) => not_started(id, reason.to_string()),
            Ok(Err(error)) => not_started(id, error.to_string()),
            Err(lost) => not_started(id, lost.to_string()),
        }
    });
    Ok(actor)
}
