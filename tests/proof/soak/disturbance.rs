//! Disturbances of a running agent: kills, stops, shortages, and commands by hand.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

use super::Counts;
use super::host::SoakHost;
use crate::support::SOON;
use crate::support::agent::Agent;
use crate::support::open_files;

/// One disturbance.
#[derive(Clone, Copy, Debug)]
pub(super) enum Disturbance {
    Killed,
    Stopped,
    Interrupted,
    Paused,
    OutOfDescriptors,
    DiskFull,
    SettingsReadAgain,
    Requested,
    MarkerTouched,
    BuiltByHand,
    RolledBack,
    BuiltAndKilled,
}

use Disturbance::{
    BuiltAndKilled, BuiltByHand, DiskFull, Interrupted, Killed, MarkerTouched, OutOfDescriptors, Paused,
    Requested, RolledBack, SettingsReadAgain, Stopped,
};

impl Disturbance {
    /// All of them, the more common ones more than once.
    pub(super) const ALL: [Self; 16] = [
        Killed,
        Killed,
        Stopped,
        Interrupted,
        Paused,
        OutOfDescriptors,
        DiskFull,
        SettingsReadAgain,
        Requested,
        Requested,
        MarkerTouched,
        MarkerTouched,
        BuiltByHand,
        BuiltByHand,
        RolledBack,
        BuiltAndKilled,
    ];

    /// Applies it. Texts that were in flight within the returned time may be embedded again.
    pub(super) fn apply(
        self,
        host: &SoakHost,
        agent: &mut Option<Agent>,
        random: &mut fastrand::Rng,
        counts: &Counts,
    ) -> Option<(Instant, Instant)> {
        let (began, pause) = (Instant::now(), Duration::from_millis(random.u64(50..400)));
        let since = |began: Instant| Some((began, Instant::now()));
        let running = agent.as_mut().expect("an agent runs during disturbances");
        let lost = match self {
            Killed => {
                running.signal(Signal::KILL);
                assert_eq!(running.ended(SOON), 137, "{}", running.log());
                since(began)
            }
            Stopped | Interrupted => {
                running.signal(if matches!(self, Stopped) { Signal::TERM } else { Signal::INT });
                assert_eq!(running.ended(Duration::from_secs(5)), 0, "{}", running.log());
                since(began)
            }
            Paused => {
                running.signal(Signal::STOP);
                std::thread::sleep(pause * 4);
                running.signal(Signal::CONT);
                since(began)
            }
            OutOfDescriptors => {
                take_descriptors(running, host, pause);
                since(began)
            }
            DiskFull if host.small_disk => {
                host.fill();
                std::thread::sleep(pause);
                host.clear();
                since(began)
            }
            DiskFull => return None,
            SettingsReadAgain => {
                running.signal(Signal::HUP);
                None
            }
            Requested => {
                running.signal(Signal::USR1);
                None
            }
            MarkerTouched => {
                host.touch();
                None
            }
            BuiltByHand | RolledBack => {
                let command = if matches!(self, BuiltByHand) { "build" } else { "rollback" };
                let ran = host.run(&[command, "--json"]);
                assert!([0, 1, 75].contains(&ran.code), "{ran:?}");
                None
            }
            BuiltAndKilled => {
                let killed = kill_a_build(host, pause / 10);
                since(killed)
            }
        };
        if matches!(self, Killed | Stopped | Interrupted) {
            *agent = Some(host.agent());
        }
        counts.add(self.description());
        lost
    }

    fn description(self) -> &'static str {
        match self {
            Killed => "agents killed",
            Stopped => "agents ended by SIGTERM",
            Interrupted => "agents ended by SIGINT",
            Paused => "agents paused",
            OutOfDescriptors => "times out of descriptors",
            DiskFull => "times the disk was full",
            SettingsReadAgain => "times settings were read again",
            Requested => "requests by SIGUSR1",
            MarkerTouched => "touches of the marker",
            BuiltByHand => "builds by hand",
            RolledBack => "rollbacks by hand",
            BuiltAndKilled => "builds by hand that were killed",
        }
    }
}

/// Leaves an agent without a free descriptor for a while, and requests a pass in that time.
fn take_descriptors(running: &Agent, host: &SoakHost, pause: Duration) {
    let open = open_files(running.pid()).len() as u64;
    let few = Rlimit { current: Some(open), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(Some(running.pid()), Resource::Nofile, few).unwrap();
    host.touch();
    std::thread::sleep(pause);
    prlimit(Some(running.pid()), Resource::Nofile, before).unwrap();
}

/// Kills a build after `pause`; returns when.
fn kill_a_build(host: &SoakHost, pause: Duration) -> Instant {
    let mut build = Agent::start(&mut host.command(&["build", "--wait"]));
    std::thread::sleep(pause);
    let killed = Instant::now();
    if !build.is_over() {
        build.signal(Signal::KILL);
    }
    build.ended(SOON);
    killed
}
