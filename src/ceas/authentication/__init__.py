"""Keys from Bell pairs, and the authentication of every frame with them or with signatures."""

from ceas.authentication.authenticator import CONTROL_FRAMES_OF_ROUND as CONTROL_FRAMES_OF_ROUND
from ceas.authentication.authenticator import Accepted as Accepted
from ceas.authentication.authenticator import AuthenticationAccount as AuthenticationAccount
from ceas.authentication.authenticator import Authenticator as Authenticator
from ceas.authentication.authenticator import FrameClass as FrameClass
from ceas.authentication.codec import EVERYBODY as EVERYBODY
from ceas.authentication.codec import HEADER_BYTES as HEADER_BYTES
from ceas.authentication.codec import Frame as Frame
from ceas.authentication.codec import Rejected as Rejected
from ceas.authentication.codec import RejectionReason as RejectionReason
from ceas.authentication.codec import decode_frame as decode_frame
from ceas.authentication.codec import encode_frame as encode_frame
from ceas.authentication.codec import epoch_hash as epoch_hash
from ceas.authentication.costs import LAYOUTS as LAYOUTS
from ceas.authentication.costs import KeyCost as KeyCost
from ceas.authentication.costs import key_cost as key_cost
from ceas.authentication.costs import layout_frames as layout_frames
from ceas.authentication.costs import run_forgery_bound as run_forgery_bound
from ceas.authentication.keys import FiniteKey as FiniteKey
from ceas.authentication.keys import KeyPools as KeyPools
from ceas.authentication.keys import pairs_for_key as pairs_for_key
from ceas.authentication.keys import secret_key_bits as secret_key_bits
from ceas.authentication.profiles import PROFILES as PROFILES
from ceas.authentication.profiles import Profile as Profile
from ceas.authentication.profiles import forgery_bound as forgery_bound
from ceas.authentication.signatures import ML_DSA_SIGNATURE_BYTES as ML_DSA_SIGNATURE_BYTES
from ceas.authentication.signatures import MlDsaSigner as MlDsaSigner
from ceas.authentication.signatures import ml_dsa_signers as ml_dsa_signers

__all__ = [
    "CONTROL_FRAMES_OF_ROUND",
    "EVERYBODY",
    "HEADER_BYTES",
    "LAYOUTS",
    "ML_DSA_SIGNATURE_BYTES",
    "PROFILES",
    "Accepted",
    "AuthenticationAccount",
    "Authenticator",
    "FiniteKey",
    "Frame",
    "FrameClass",
    "KeyCost",
    "KeyPools",
    "MlDsaSigner",
    "Profile",
    "Rejected",
    "RejectionReason",
    "decode_frame",
    "encode_frame",
    "epoch_hash",
    "forgery_bound",
    "key_cost",
    "layout_frames",
    "ml_dsa_signers",
    "pairs_for_key",
    "run_forgery_bound",
    "secret_key_bits",
]
