"""Byzantine fault-tolerant exchange of updates, and agreement on their set, as state machines without I/O."""

from ceas.consensus.broadcast import BroadcastRejection as BroadcastRejection
from ceas.consensus.broadcast import BroadcastState as BroadcastState
from ceas.consensus.broadcast import Output as Output
from ceas.consensus.broadcast import ReliableBroadcast as ReliableBroadcast
from ceas.consensus.broadcast import Validate as Validate
from ceas.consensus.certification import CertificationMessage as CertificationMessage
from ceas.consensus.certification import CertificationRejection as CertificationRejection
from ceas.consensus.certification import CoinOpening as CoinOpening
from ceas.consensus.certification import EndSecrets as EndSecrets
from ceas.consensus.certification import Flag as Flag
from ceas.consensus.certification import Holding as Holding
from ceas.consensus.certification import LinkCertificate as LinkCertificate
from ceas.consensus.certification import LinkReport as LinkReport
from ceas.consensus.certification import LinkTest as LinkTest
from ceas.consensus.certification import LinkVerdict as LinkVerdict
from ceas.consensus.certification import Measure as Measure
from ceas.consensus.certification import OutcomeCommitment as OutcomeCommitment
from ceas.consensus.certification import OutcomeOpening as OutcomeOpening
from ceas.consensus.certification import SendToPeer as SendToPeer
from ceas.consensus.certification import TestPlan as TestPlan
from ceas.consensus.certification import certificate_of as certificate_of
from ceas.consensus.certification import drawn_tests as drawn_tests
from ceas.consensus.certification import holding_of as holding_of
from ceas.consensus.certification import joint_coin as joint_coin
from ceas.consensus.certification import judge_link as judge_link
from ceas.consensus.certification import least_passed as least_passed
from ceas.consensus.certification import node_score as node_score
from ceas.consensus.certification import short_nodes as short_nodes
from ceas.consensus.messages import DIGEST_BYTES as DIGEST_BYTES
from ceas.consensus.messages import AgreementMessage as AgreementMessage
from ceas.consensus.messages import AnyMessage as AnyMessage
from ceas.consensus.messages import Ballot as Ballot
from ceas.consensus.messages import Decision as Decision
from ceas.consensus.messages import Echo as Echo
from ceas.consensus.messages import Message as Message
from ceas.consensus.messages import Missing as Missing
from ceas.consensus.messages import Proof as Proof
from ceas.consensus.messages import Propose as Propose
from ceas.consensus.messages import Pull as Pull
from ceas.consensus.messages import Ready as Ready
from ceas.consensus.messages import SetProposal as SetProposal
from ceas.consensus.messages import SetVote as SetVote
from ceas.consensus.messages import Suggest as Suggest
from ceas.consensus.messages import Value as Value
from ceas.consensus.messages import ViewChange as ViewChange
from ceas.consensus.messages import decode_message as decode_message
from ceas.consensus.messages import encode_message as encode_message
from ceas.consensus.messages import value_digest as value_digest
from ceas.consensus.outputs import Broadcast as Broadcast
from ceas.consensus.outputs import Conclude as Conclude
from ceas.consensus.outputs import Decide as Decide
from ceas.consensus.outputs import Deliver as Deliver
from ceas.consensus.outputs import Persist as Persist
from ceas.consensus.outputs import Send as Send
from ceas.consensus.outputs import SetTimer as SetTimer
from ceas.consensus.round import ConsensusRound as ConsensusRound
from ceas.consensus.round import RoundOutput as RoundOutput
from ceas.consensus.round import RoundState as RoundState
from ceas.consensus.round import decode_round_state as decode_round_state
from ceas.consensus.round import encode_round_state as encode_round_state
from ceas.consensus.simplex import Signer as Signer
from ceas.consensus.simplex import SimplexOutput as SimplexOutput
from ceas.consensus.simplex import SimplexRejection as SimplexRejection
from ceas.consensus.simplex import SimplexRound as SimplexRound
from ceas.consensus.simplex_messages import NO_DIGEST as NO_DIGEST
from ceas.consensus.simplex_messages import Block as Block
from ceas.consensus.simplex_messages import BlockProposal as BlockProposal
from ceas.consensus.simplex_messages import BlockVote as BlockVote
from ceas.consensus.simplex_messages import Certificate as Certificate
from ceas.consensus.simplex_messages import Certificates as Certificates
from ceas.consensus.simplex_messages import Finalize as Finalize
from ceas.consensus.simplex_messages import HeldValue as HeldValue
from ceas.consensus.simplex_messages import Lacking as Lacking
from ceas.consensus.simplex_messages import LeaveView as LeaveView
from ceas.consensus.simplex_messages import Phase as Phase
from ceas.consensus.simplex_messages import PullBlock as PullBlock
from ceas.consensus.simplex_messages import PullValues as PullValues
from ceas.consensus.simplex_messages import SignedValue as SignedValue
from ceas.consensus.simplex_messages import SimplexKind as SimplexKind
from ceas.consensus.simplex_messages import SimplexMessage as SimplexMessage
from ceas.consensus.simplex_messages import block_digest as block_digest
from ceas.consensus.simplex_messages import decode_simplex as decode_simplex
from ceas.consensus.simplex_messages import encode_simplex as encode_simplex
from ceas.consensus.simplex_messages import statement as statement
from ceas.consensus.simplex_state import SimplexState as SimplexState
from ceas.consensus.simplex_state import decode_simplex_state as decode_simplex_state
from ceas.consensus.simplex_state import encode_simplex_state as encode_simplex_state
from ceas.consensus.tetrabft import Agreement as Agreement
from ceas.consensus.tetrabft import AgreementOutput as AgreementOutput
from ceas.consensus.tetrabft import AgreementRejection as AgreementRejection
from ceas.consensus.tetrabft import AgreementState as AgreementState
from ceas.consensus.tetrabft import decode_state as decode_state
from ceas.consensus.tetrabft import encode_state as encode_state
from ceas.consensus.tetrabft import is_safe as is_safe
from ceas.consensus.updates import Claims as Claims
from ceas.consensus.updates import Update as Update
from ceas.consensus.updates import UpdateRejection as UpdateRejection
from ceas.consensus.updates import UpdateTable as UpdateTable
from ceas.consensus.updates import decode_update as decode_update
from ceas.consensus.updates import decode_updates as decode_updates
from ceas.consensus.updates import encode_update as encode_update
from ceas.consensus.updates import encode_updates as encode_updates
from ceas.consensus.updates import parameter_digest as parameter_digest
from ceas.consensus.votes import amplification_quorum as amplification_quorum
from ceas.consensus.votes import check_tolerance as check_tolerance
from ceas.consensus.votes import max_tolerated as max_tolerated
from ceas.consensus.votes import quorum as quorum

__all__ = [
    "DIGEST_BYTES",
    "NO_DIGEST",
    "Agreement",
    "AgreementMessage",
    "AgreementOutput",
    "AgreementRejection",
    "AgreementState",
    "AnyMessage",
    "Ballot",
    "Block",
    "BlockProposal",
    "BlockVote",
    "Broadcast",
    "BroadcastRejection",
    "BroadcastState",
    "Certificate",
    "Certificates",
    "CertificationMessage",
    "CertificationRejection",
    "Claims",
    "CoinOpening",
    "Conclude",
    "ConsensusRound",
    "Decide",
    "Decision",
    "Deliver",
    "Echo",
    "EndSecrets",
    "Finalize",
    "Flag",
    "HeldValue",
    "Holding",
    "Lacking",
    "LeaveView",
    "LinkCertificate",
    "LinkReport",
    "LinkTest",
    "LinkVerdict",
    "Measure",
    "Message",
    "Missing",
    "OutcomeCommitment",
    "OutcomeOpening",
    "Output",
    "Persist",
    "Phase",
    "Proof",
    "Propose",
    "Pull",
    "PullBlock",
    "PullValues",
    "Ready",
    "ReliableBroadcast",
    "RoundOutput",
    "RoundState",
    "Send",
    "SendToPeer",
    "SetProposal",
    "SetTimer",
    "SetVote",
    "SignedValue",
    "Signer",
    "SimplexKind",
    "SimplexMessage",
    "SimplexOutput",
    "SimplexRejection",
    "SimplexRound",
    "SimplexState",
    "Suggest",
    "TestPlan",
    "Update",
    "UpdateRejection",
    "UpdateTable",
    "Validate",
    "Value",
    "ViewChange",
    "amplification_quorum",
    "block_digest",
    "certificate_of",
    "check_tolerance",
    "decode_message",
    "decode_round_state",
    "decode_simplex",
    "decode_simplex_state",
    "decode_state",
    "decode_update",
    "decode_updates",
    "drawn_tests",
    "encode_message",
    "encode_round_state",
    "encode_simplex",
    "encode_simplex_state",
    "encode_state",
    "encode_update",
    "encode_updates",
    "holding_of",
    "is_safe",
    "joint_coin",
    "judge_link",
    "least_passed",
    "max_tolerated",
    "node_score",
    "parameter_digest",
    "quorum",
    "short_nodes",
    "statement",
    "value_digest",
]
