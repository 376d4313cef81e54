use super::*;

const ANSWER: &str = r#"{"ok":true,
  "router":{"instance_id":"r-1","version":"0.1.0","environment":"dev","uptime_ms":7380000,"status":"running","revision":3,
            "registry_source":"store","stale_seconds":0},
  "tree":{"name":"root","type":"supervisor","status":"running","uptime_ms":7380000,"restarts":0,"restarts_in_window":0,
    "last_exit":null,"queue_depth":0,"in_flight":null,"handled":0,"breaker":null,"success_rate":null,"omitted_children":0,
    "children":[
      {"name":"registry","type":"worker","status":"running","uptime_ms":7380000,"restarts":0,"restarts_in_window":0,
       "last_exit":null,"queue_depth":2,"in_flight":null,"handled":1480,"breaker":null,"success_rate":null,
       "omitted_children":0,"children":[]},
      {"name":"invokers","type":"supervisor","status":"running","uptime_ms":7380000,"restarts":0,"restarts_in_window":0,
       "last_exit":null,"queue_depth":0,"in_flight":null,"handled":2,"breaker":null,"success_rate":null,
       "omitted_children":0,"children":[
         {"name":"invoker:running","type":"worker","status":"running","uptime_ms":8000,"restarts":3,"restarts_in_window":1,
          "last_exit":"panicked: index out of bounds: the len is 3 but the index is 7","queue_depth":0,"in_flight":4,
          "handled":91234,"breaker":{"state":"half_open"},"success_rate":0.9876,"omitted_children":0,"children":[]}]},
      {"name":"pipelines","type":"supervisor","status":"draining","uptime_ms":250,"restarts":0,"restarts_in_window":0,
       "last_exit":null,"queue_depth":0,"in_flight":1,"limit":1024,"waiting":7,"handled":5,"breaker":null,"success_rate":null,
       "omitted_children":970,"children":[
         {"name":"pipeline:req\u001b[2J","type":"worker","status":"running","children":[]}]}]}}"#;

fn answer() -> SupervisionTreeAnswer {
    serde_json::from_str(ANSWER).expect("an answer of a router")
}

#[test]
fn the_tree_is_drawn_with_aligned_columns() {
    let expected = "\
router 0.1.0 r-1 (dev), running for 2h 03m; registry revision 3 from store

NAME                         STATUS    UPTIME  RESTARTS  LAST EXIT                                 QUEUE  IN-FLIGHT  WAITING  HANDLED  BREAKER    SUCCESS
root                         running   2h 03m         0  -                                             0          -        -        0  -                -
├─ registry                  running   2h 03m         0  -                                             2          -        -     1480  -                -
├─ invokers                  running   2h 03m         0  -                                             0          -        -        2  -                -
│  └─ invoker:running        running       8s     3 (1)  panicked: index out of bounds: the len …      0          4        -    91234  half_open    98.8%
└─ pipelines                 draining   250ms         0  -                                             0     1/1024        7        5  -                -
   ├─ pipeline:req\\u{1b}[2J  running      0ms         0  -                                             0          -        -        0  -                -
   └─ … 970 more";
    assert_eq!(frame(&answer(), Look::PLAIN), expected);
}

#[test]
fn what_was_refused_is_seen() {
    let mut answer = answer();
    for (events, seen) in [(None, false), (Some(0), false), (Some(3), true)] {
        answer.tree.as_mut().expect("a tree").security_events = events;
        let frame = frame(&answer, Look::PLAIN);
        assert_eq!(frame.contains("0 (3 refused)"), seen, "{frame}");
    }
}

#[test]
fn colours_touch_the_status_and_nothing_else() {
    let coloured = frame(
        &answer(),
        Look {
            colour: true,
            ..Look::PLAIN
        },
    );
    assert!(
        coloured.contains("│  └─ invoker:running        \u{1b}[32mrunning\u{1b}[0m"),
        "{coloured}"
    );
    assert!(
        coloured.contains("\u{1b}[33mdraining\u{1b}[0m   250ms"),
        "{coloured}"
    );
    let bare = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"]
        .iter()
        .fold(coloured, |text, code| text.replace(code, ""));
    assert_eq!(bare, frame(&answer(), Look::PLAIN));
}

#[test]
fn a_snapshot_from_disk_says_how_old_it_is() {
    let mut answer = answer();
    answer.router.registry_source = "disk".into();
    answer.router.stale_seconds = 307;
    let frame = frame(&answer, Look::PLAIN);
    assert!(
        frame
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("revision 3 from disk, 5m 07s old")),
        "{frame}"
    );
}

#[test]
fn a_limit_below_its_ceiling_and_pressure_are_shown() {
    let mut answer = answer();
    answer.router.pressure = "severe".into();
    answer.router.lag_ms = 120.4;
    answer.router.memory_used = 0.931;
    let pipelines = &mut answer.tree.as_mut().expect("a tree").children[2];
    pipelines.limit = Some(64);
    pipelines.ceiling = Some(1024);
    let frame = frame(&answer, Look::PLAIN);
    let end = "from store; pressure severe: 93.1% of the memory in use, timers 120 ms late";
    assert!(
        frame.lines().next().is_some_and(|line| line.ends_with(end)),
        "{frame}"
    );
    assert!(frame.contains(" 1/64 of 1024 "), "{frame}");
}

#[test]
fn eighty_columns_keep_what_people_look_for() {
    let look = Look {
        width: 80,
        colour: false,
    };
    let frame = frame(&answer(), look);
    for line in frame.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for part in ["RESTARTS", "half_open", "98.8%", "draining", "3 (1)"] {
        assert!(frame.contains(part), "{part} in {frame}");
    }
}
