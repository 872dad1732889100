//! Queries within one process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::envelope::Envelope;
use crate::transport::queries::{KEPT_WITHOUT_RESPONDER, LONGEST_WAIT};
use crate::transport::{Desk, NoReply, Question, Questions, Reply, ReplyPath};

/// Where questions wait and are given out. A clone is the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Enquiries(Arc<Mutex<Desks>>);

#[derive(Debug, Default)]
struct Desks {
    /// By the query's name and the service.
    queues: HashMap<(String, String), Queue>,
    /// The last number given to a question or a member.
    last_number: u64,
}

/// What is asked of one service under one name. It stays for a while when its last member leaves.
#[derive(Debug)]
struct Queue {
    /// By number: what comes back to the queue takes its old place.
    waiting: BTreeMap<u64, Waiting>,
    members: BTreeMap<u64, Member>,
    /// Since when it has had no member, if it has none.
    deserted: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Waiting {
    query: Arc<Envelope>,
    until: Instant,
    /// Takes one reply: the first.
    replies: mpsc::Sender<Reply>,
}

#[derive(Debug)]
struct Member {
    questions: mpsc::UnboundedSender<Question>,
    at_once: usize,
    unanswered: BTreeMap<u64, Waiting>,
    path: Path,
}

/// The way from a member back to the desks.
#[derive(Debug, Clone)]
struct Path {
    enquiries: Enquiries,
    queue: (String, String),
    member: u64,
}

impl Enquiries {
    /// See [`Transport::request`](crate::Transport::request).
    pub(super) async fn request(
        &self,
        query: Envelope,
        within: Duration,
    ) -> Result<Reply, NoReply> {
        let within = within.min(LONGEST_WAIT);
        let (sender, mut replies) = mpsc::channel(1);
        let question = Waiting {
            query: Arc::new(query),
            until: Instant::now() + within,
            replies: sender,
        };
        let number = self.lock().ask(&question).ok_or(NoReply::NobodyAnswers)?;
        let _asked = Asked {
            enquiries: self,
            number,
        };
        match timeout(within, replies.recv()).await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) | Err(_) => Err(NoReply::TimedOut),
        }
    }

    /// See [`Transport::serve`](crate::Transport::serve).
    pub(super) fn serve(&self, desk: Desk, cancelled: CancellationToken) -> Questions {
        let (sender, questions) = mpsc::unbounded_channel();
        let membership = cancelled.clone().drop_guard();
        let path = self.lock().join(desk, sender, self);
        tokio::spawn(async move {
            cancelled.cancelled().await;
            path.enquiries.lock().leave(&path);
        });
        Questions::new(questions, membership)
    }

    fn lock(&self) -> MutexGuard<'_, Desks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question whose asker waits. Dropping it gives the question up.
struct Asked<'a> {
    enquiries: &'a Enquiries,
    number: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        for queue in self.enquiries.lock().queues.values_mut() {
            queue.waiting.remove(&self.number);
        }
    }
}

impl Desks {
    /// Hands the question to every service that answers such, and returns its number.
    fn ask(&mut self, question: &Waiting) -> Option<u64> {
        self.queues.retain(|_, queue| !queue.is_abandoned());
        self.last_number += 1;
        let mut asked = None;
        for ((query, _), queue) in &mut self.queues {
            if *query == question.query.name {
                asked = Some(self.last_number);
                queue.waiting.insert(self.last_number, question.clone());
                queue.give_out();
            }
        }
        asked
    }

    fn join(
        &mut self,
        desk: Desk,
        questions: mpsc::UnboundedSender<Question>,
        enquiries: &Enquiries,
    ) -> Path {
        self.last_number += 1;
        let path = Path {
            enquiries: enquiries.clone(),
            queue: (desk.query, desk.service),
            member: self.last_number,
        };
        let member = Member {
            questions,
            at_once: desk.at_once.max(1).into(),
            unanswered: BTreeMap::new(),
            path: path.clone(),
        };
        let queue = self.queues.entry(path.queue.clone()).or_insert(Queue {
            waiting: BTreeMap::new(),
            members: BTreeMap::new(),
            deserted: None,
        });
        queue.deserted = None;
        queue.members.insert(path.member, member);
        queue.give_out();
        path
    }

    /// What the member has not answered goes to the others.
    fn leave(&mut self, path: &Path) {
        let Some(queue) = self.queues.get_mut(&path.queue) else {
            return;
        };
        if let Some(member) = queue.members.remove(&path.member) {
            queue.waiting.extend(member.unanswered);
            if queue.members.is_empty() {
                queue.deserted = Some(Instant::now());
            }
            queue.give_out();
        }
    }

    fn settle(&mut self, path: &Path, number: u64) {
        let Some(queue) = self.queues.get_mut(&path.queue) else {
            return;
        };
        if let Some(member) = queue.members.get_mut(&path.member) {
            member.unanswered.remove(&number);
            queue.give_out();
        }
    }
}

impl Queue {
    fn is_abandoned(&self) -> bool {
        self.deserted
            .is_some_and(|since| since.elapsed() > KEPT_WITHOUT_RESPONDER)
    }

    /// Gives waiting questions to the members that have room, the least busy first. Those whose
    /// asker no longer waits are not worked on.
    fn give_out(&mut self) {
        self.waiting
            .retain(|_, question| !question.replies.is_closed());
        while !self.waiting.is_empty() {
            let Some(member) = self
                .members
                .values_mut()
                .filter(|member| member.unanswered.len() < member.at_once)
                .min_by_key(|member| member.unanswered.len())
            else {
                return;
            };
            if let Some((number, question)) = self.waiting.pop_first() {
                member.take(number, question);
            }
        }
    }
}

impl Member {
    fn take(&mut self, number: u64, question: Waiting) {
        let path = Box::new(AskerPath {
            replies: question.replies.clone(),
            path: self.path.clone(),
            number,
        });
        let time_left = question.until.saturating_duration_since(Instant::now());
        // A member that no longer listens is about to leave, and gives the question back then.
        let _ = self
            .questions
            .send(Question::new(Ok(question.query.clone()), time_left, path));
        self.unanswered.insert(number, question);
    }
}

#[derive(Debug)]
struct AskerPath {
    replies: mpsc::Sender<Reply>,
    path: Path,
    number: u64,
}

#[async_trait]
impl ReplyPath for AskerPath {
    async fn settle(self: Box<Self>, reply: Option<Reply>) {
        if let Some(reply) = reply {
            // The asker may be gone, or have another service's reply.
            let _ = self.replies.try_send(reply);
        }
        self.path.enquiries.lock().settle(&self.path, self.number);
    }
}
