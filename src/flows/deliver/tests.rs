//! The contract of every kind of target, each behind the same record of deliveries.
//!
//! Delivered once; refused; failing, then well; stopped; replaced in flight;
//! confirmed. A new kind of target is one more [`TargetCase`].

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::adapters::deliver::Receipt;
use crate::adapters::deliver::tests::{
    BUILD, DEADLINE, answer, build, command_settings, read_request, until,
};

/// How a target reacts to a build, whatever its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Accepts,
    Refuses,
    /// It cannot be reached, or breaks off.
    Fails,
    /// It begins to receive the build and never ends.
    Hangs,
}

/// What a target's peer does and has seen.
struct Peer {
    behaviour: Behaviour,
    /// The build that the peer shows when it is asked for a confirmation.
    shown: String,
    /// How often it was asked for a confirmation.
    asked: u32,
    received: Vec<String>,
}

type SharedPeer = Arc<Mutex<Peer>>;

/// One target with the peer behind it.
struct TargetCase {
    target: Box<dyn Target>,
    peer: SharedPeer,
    /// Holds what a command reads and writes; empty for the other kinds.
    directory: TempDir,
}

/// One target of each kind. With `confirms` each waits for a confirmation, for at most `timeout`.
async fn every_kind(confirms: bool, timeout: Duration) -> Vec<TargetCase> {
    vec![webhook(confirms, timeout).await, command(confirms, timeout).await, fake(confirms, timeout)]
}

fn peer() -> SharedPeer {
    let (behaviour, shown) = (Behaviour::Accepts, "an older build".to_owned());
    Arc::new(Mutex::new(Peer { behaviour, shown, asked: 0, received: Vec::new() }))
}

async fn webhook(confirms: bool, timeout: Duration) -> TargetCase {
    let peer = peer();
    let address = api(Arc::clone(&peer)).await;
    let method = AnnounceMethod::Post(format!("{address}/admin/reload"));
    let confirm = confirms.then(|| format!("{address}/health"));
    let settings = AnnounceSettings { method, confirm, timeout, ..command_settings(&[]) };
    kind(&settings, peer, tempfile::tempdir().unwrap())
}

async fn command(confirms: bool, timeout: Duration) -> TargetCase {
    let peer = peer();
    let confirm = if confirms { Some(format!("{}/health", api(Arc::clone(&peer)).await)) } else { None };
    let directory = tempfile::tempdir().unwrap();
    let script = r#"cd "$1"; echo "$REINDEXD_BUILD" >> received
        case $(cat behaviour) in Accepts) ;; Refuses) echo loading; exit 3;; Hangs) exec sleep 1000;; esac"#;
    let (program, folder) = (directory.path().join("sh"), directory.path().to_str().unwrap());
    let argv = [program.to_str().unwrap(), "-c", script, "sh", folder];
    let settings = AnnounceSettings { confirm, timeout, ..command_settings(&argv) };
    kind(&settings, peer, directory)
}

fn kind(settings: &AnnounceSettings, peer: SharedPeer, directory: TempDir) -> TargetCase {
    let target = targets(std::slice::from_ref(settings)).remove(0);
    let kind = TargetCase { target, peer, directory };
    kind.behave(Behaviour::Accepts);
    kind
}

fn fake(confirms: bool, timeout: Duration) -> TargetCase {
    let (peer, directory) = (peer(), tempfile::tempdir().unwrap());
    let target = Fake { peer: Arc::clone(&peer), confirms, timeout };
    TargetCase { target: Box::new(target), peer, directory }
}

impl TargetCase {
    fn behave(&self, behaviour: Behaviour) {
        self.peer.lock().unwrap().behaviour = behaviour;
        fs::write(self.directory.path().join("behaviour"), format!("{behaviour:?}")).unwrap();
        let program = self.directory.path().join("sh");
        fs::remove_file(&program).ok();
        if behaviour != Behaviour::Fails {
            symlink("/bin/sh", program).unwrap();
        }
    }

    fn show(&self, build: &str) {
        build.clone_into(&mut self.peer.lock().unwrap().shown);
    }

    fn asked(&self) -> u32 {
        self.peer.lock().unwrap().asked
    }

    /// The builds that it received or began to receive.
    fn received(&self) -> Vec<String> {
        let by_command = fs::read_to_string(self.directory.path().join("received")).unwrap_or_default();
        let by_others = self.peer.lock().unwrap().received.clone();
        by_command.lines().map(str::to_owned).chain(by_others).collect()
    }
}

/// An API that takes builds by POST and shows one by GET; gives its address.
async fn api(peer: SharedPeer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(request) = read_request(&mut stream).await else { continue };
            if request.starts_with("GET ") {
                let shown = {
                    let mut peer = peer.lock().unwrap();
                    peer.asked += 1;
                    peer.shown.clone()
                };
                answer(&mut stream, "200 OK", &shown).await;
                continue;
            }
            let behaviour = {
                let mut peer = peer.lock().unwrap();
                if peer.behaviour != Behaviour::Fails {
                    let (_, body) = request.split_once("\r\n\r\n").unwrap();
                    let body: serde_json::Value = serde_json::from_str(body).unwrap();
                    peer.received.push(body["id"].as_str().unwrap().to_owned());
                }
                peer.behaviour
            };
            match behaviour {
                Behaviour::Accepts => answer(&mut stream, "204 No Content", "").await,
                Behaviour::Refuses => answer(&mut stream, "503 Busy", "loading").await,
                Behaviour::Fails => drop(stream),
                Behaviour::Hangs => open.push(stream),
            }
        }
    });
    format!("http://{address}")
}

/// The shortest target that keeps the contract.
struct Fake {
    peer: SharedPeer,
    confirms: bool,
    timeout: Duration,
}

impl Fake {
    async fn receive(&self, delivery: &Delivery<'_>) -> Result<Delivered, DeliverError> {
        let build = &delivery.served.manifest.id;
        let behaviour = self.peer.lock().unwrap().behaviour;
        if behaviour == Behaviour::Fails {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(DeliverError::Start { program: "fake".to_owned(), source });
        }
        self.peer.lock().unwrap().received.push(build.clone());
        match behaviour {
            Behaviour::Refuses => return Ok(Delivered::Refused("loading".to_owned())),
            Behaviour::Hangs => std::future::pending().await,
            Behaviour::Accepts | Behaviour::Fails => {}
        }
        if self.confirms {
            self.confirm(delivery).await?;
        }
        Ok(Delivered::Received(Receipt { output: String::new() }))
    }

    async fn confirm(&self, delivery: &Delivery<'_>) -> Result<(), DeliverError> {
        let (target, build) = ("fake".to_owned(), delivery.served.manifest.id.clone());
        let shown = async {
            loop {
                {
                    let mut peer = self.peer.lock().unwrap();
                    peer.asked += 1;
                    if peer.shown == build {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = shown => Ok(()),
            () = delivery.replaced.requested() => {
                Err(DeliverError::Replaced { target, build: build.clone() })
            }
            () = tokio::time::sleep(self.timeout) => {
                let (limit, found) = (self.timeout, "another build".to_owned());
                Err(DeliverError::Unconfirmed { target, build: build.clone(), limit, found })
            }
        }
    }
}

impl Target for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn deliver<'a>(
        &'a self,
        delivery: &'a Delivery<'_>,
        stop: &'a Stop,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>> {
        async move {
            let stopped = || Err(DeliverError::Stopped { target: "fake".to_owned() });
            stop.run_until_requested(self.receive(delivery)).await.unwrap_or_else(stopped)
        }
        .boxed()
    }
}

/// A record of deliveries of its own, and a stop and a newer build that can be requested.
struct Fixture {
    build: crate::adapters::builds::Build,
    layout: Layout,
    stop: Stop,
    replaced: Stop,
    _directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name| directory.path().join(name);
        let layout = Layout::new(&at("faiss.index"), &at("metadata.json")).unwrap();
        fs::create_dir(&layout.private).unwrap();
        let (stop, replaced) = (Stop::new(), Stop::new());
        Self { build: build(), layout, stop, replaced, _directory: directory }
    }

    async fn deliver(&self, kind: &TargetCase) -> Result<(), Retry> {
        let delivery = Delivery { served: &self.build, replaced: self.replaced.clone() };
        let delivering = deliver_if_due(&*kind.target, &delivery, &self.layout, &self.stop, Timestamp::now);
        tokio::time::timeout(DEADLINE, delivering).await.expect("it ends")
    }

    /// The build that the target received last, how many deliveries failed since, and why the last one did.
    fn recorded(&self, kind: &TargetCase) -> (Option<String>, u32, String) {
        let state = state::load(&self.layout).remove(kind.target.name()).unwrap_or_default();
        let (tries, error) = state.failing.map_or_else(Default::default, |it| (it.tries, it.error));
        (state.build, tries, error)
    }

    #[track_caller]
    fn assert_received(&self, kind: &TargetCase) {
        let expected = (Some(BUILD.to_owned()), 0, String::new());
        assert_eq!(self.recorded(kind), expected, "{}", kind.target.name());
    }

    /// Nothing was received for certain, and the last of so many failures says why.
    #[track_caller]
    fn assert_failing(&self, kind: &TargetCase, tries: u32, why: &str) {
        let (build, found, error) = self.recorded(kind);
        assert_eq!((build, found), (None, tries), "{}: {error}", kind.target.name());
        assert!(error.contains(why), "{}: {error}", kind.target.name());
    }
}

const SOON: Result<(), Retry> = Err(Retry::Soon { wait: None });

#[tokio::test]
async fn every_target_receives_a_build_once() {
    for kind in every_kind(false, DEADLINE).await {
        let world = Fixture::new();

        assert_eq!(world.deliver(&kind).await, Ok(()));
        assert_eq!(world.deliver(&kind).await, Ok(()));

        assert_eq!(kind.received(), [BUILD], "{}", kind.target.name());
        world.assert_received(&kind);
    }
}

#[tokio::test]
async fn every_refusal_is_recorded_and_the_build_delivered_again() {
    for kind in every_kind(true, DEADLINE).await {
        let world = Fixture::new();
        kind.show(BUILD);
        kind.behave(Behaviour::Refuses);

        assert_eq!(world.deliver(&kind).await, SOON);
        assert_eq!(world.deliver(&kind).await, SOON);
        world.assert_failing(&kind, 2, "loading");
        assert_eq!(kind.asked(), 0, "what was refused is not waited for: {}", kind.target.name());
        kind.behave(Behaviour::Accepts);
        assert_eq!(world.deliver(&kind).await, Ok(()));

        assert_eq!(kind.received(), [BUILD; 3], "{}", kind.target.name());
        world.assert_received(&kind);
    }
}

#[tokio::test]
async fn every_target_that_fails_receives_the_build_once_it_is_well() {
    for kind in every_kind(false, DEADLINE).await {
        let world = Fixture::new();
        kind.behave(Behaviour::Fails);

        assert_eq!(world.deliver(&kind).await, SOON);
        assert_eq!(world.deliver(&kind).await, SOON);
        world.assert_failing(&kind, 2, ": ");
        assert_eq!(kind.received(), [""; 0], "{}", kind.target.name());
        kind.behave(Behaviour::Accepts);
        assert_eq!(world.deliver(&kind).await, Ok(()));

        assert_eq!(kind.received(), [BUILD], "{}", kind.target.name());
        world.assert_received(&kind);
    }
}

#[tokio::test]
async fn a_stop_ends_every_delivery_and_leaves_it_due() {
    for kind in every_kind(false, DEADLINE).await {
        let world = Fixture::new();
        kind.behave(Behaviour::Hangs);

        let (result, ()) = tokio::join!(world.deliver(&kind), async {
            until("it begins", || kind.received() == [BUILD]).await;
            world.stop.request();
        });

        assert_eq!(result, SOON);
        world.assert_failing(&kind, 1, "stopped before it was complete");
        kind.behave(Behaviour::Accepts);
        assert_eq!(Fixture { stop: Stop::new(), ..world }.deliver(&kind).await, Ok(()));
    }
}

#[tokio::test]
async fn a_stop_ends_every_wait_for_a_confirmation() {
    for kind in every_kind(true, DEADLINE).await {
        let world = Fixture::new();

        let (result, ()) = tokio::join!(world.deliver(&kind), async {
            until("it is asked", || kind.asked() > 0).await;
            world.stop.request();
        });

        assert_eq!(result, SOON);
        world.assert_failing(&kind, 1, "stopped before it was complete");
    }
}

#[tokio::test]
async fn no_target_is_waited_for_to_confirm_a_build_that_was_replaced() {
    for kind in every_kind(true, 2 * DEADLINE).await {
        let world = Fixture::new();

        let (result, ()) = tokio::join!(world.deliver(&kind), async {
            until("it is asked", || kind.asked() > 0).await;
            world.replaced.request();
        });

        assert_eq!(result, SOON);
        world.assert_failing(&kind, 1, &format!("announce accepted, but build {BUILD} was replaced before"));
        assert_eq!(kind.received(), [BUILD], "{}", kind.target.name());
    }
}

#[tokio::test]
async fn a_delivery_of_a_replaced_build_that_has_begun_is_made_to_its_end() {
    for kind in every_kind(false, DEADLINE).await {
        let world = Fixture::new();
        world.replaced.request();

        assert_eq!(world.deliver(&kind).await, Ok(()));

        assert_eq!(kind.received(), [BUILD], "{}", kind.target.name());
        world.assert_received(&kind);
    }
}

#[tokio::test]
async fn every_target_is_waited_for_until_it_shows_the_build() {
    for kind in every_kind(true, DEADLINE).await {
        let world = Fixture::new();

        let (result, ()) = tokio::join!(world.deliver(&kind), async {
            until("it is asked", || kind.asked() > 0).await;
            assert_eq!(world.recorded(&kind), (None, 0, String::new()), "{}", kind.target.name());
            kind.show(BUILD);
        });

        assert_eq!(result, Ok(()));
        assert_eq!(kind.received(), [BUILD], "{}", kind.target.name());
        world.assert_received(&kind);
    }
}

#[tokio::test]
async fn every_target_that_never_shows_the_build_fails_within_its_time() {
    for kind in every_kind(true, Duration::from_millis(1500)).await {
        let world = Fixture::new();

        assert_eq!(world.deliver(&kind).await, SOON);

        let expected = format!("announce accepted, but not confirmed: expected build {BUILD}");
        world.assert_failing(&kind, 1, &expected);
        assert!(kind.asked() > 1, "it was asked again: {}", kind.target.name());
    }
}

#[tokio::test]
async fn only_targets_that_the_settings_name_are_remembered() {
    let world = Fixture::new();
    let settings = ["/bin/a", "/bin/b"].map(|program| command_settings(&[program]));
    let record = |states: &mut DeliveryStates| {
        for target in targets(&settings) {
            states.entry(target.name().to_owned()).or_default().record_success(BUILD, Timestamp::UNIX_EPOCH);
        }
    };
    state::change(&world.layout, record).unwrap();

    retain_targets(&targets(&settings[..1]), &world.layout).await;

    let recorded: Vec<String> = state::load(&world.layout).into_keys().collect();
    assert_eq!(recorded, ["command /bin/a"]);
}
