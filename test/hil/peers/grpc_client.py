"""A gRPC peer that has only the specification: Debian's python3-grpcio with code made from specification.proto.

usage: grpc_client.py READY_FILE DIRECTORY
READY_FILE is what `npm start -- --ready-file` wrote; DIRECTORY takes the generated code.
Prints one JSON object a line: {"call": NAME, "status": gRPC status name, "details": text, "answer": {...}} for each
call in a fixed order, and {"event": {...}} for each event of the subscription. Judges nothing: the caller does.
"""

import json
import os
import pathlib
import subprocess
import sys
import threading

# The code generator of Debian's grpc_tools is older than Debian's protobuf; pure Python takes its output for sure.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")

import grpc  # noqa: E402
from google.protobuf import json_format  # noqa: E402

CALL_LIMIT_S = 20
EVENT_LIMIT_S = 20
READ_TOKEN = 0x8000
GAP_TOKEN = 0x800C
QUARANTINED_TOKEN = 0x8009


OUTPUT = threading.Lock()


def say(**members):
    # Events arrive in a thread of their own: print would write the line and its end in two pieces.
    with OUTPUT:
        sys.stdout.write(json.dumps(members) + "\n")
        sys.stdout.flush()


def generate(directory):
    here = pathlib.Path(__file__).parent
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{here}", f"--python_out={directory}"]
        + [f"--grpc_python_out={directory}", "specification.proto"],
        check=True,
    )
    sys.path.insert(0, directory)


def attempt(name, method, request, metadata=()):
    try:
        answer = method(request, timeout=CALL_LIMIT_S, metadata=metadata)
    except grpc.RpcError as error:
        trailers = {key: value for key, value in (error.trailing_metadata() or ()) if isinstance(value, str)}
        say(call=name, status=error.code().name, details=error.details(), trailers=trailers)
        return None
    members = json_format.MessageToDict(answer, preserving_proto_field_name=True)
    say(call=name, status="OK", details="", answer=members)
    return answer


class Subscription:
    """Prints events in a thread of its own until it is cancelled."""

    def __init__(self, stub, request, metadata):
        self.kinds = set()
        self.arrived = threading.Condition()
        self.call = stub.SubscribeEvents(request, metadata=metadata)
        self.opened = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            # The server sends its headers at once, so nothing that is done after this is missed.
            self.call.initial_metadata()
            self.opened.set()
            for event in self.call:
                say(event=json_format.MessageToDict(event, preserving_proto_field_name=True))
                with self.arrived:
                    self.kinds.add(event.event_type)
                    self.arrived.notify_all()
        except grpc.RpcError as error:
            say(call="SubscribeEvents", status=error.code().name, details=error.details() or "")
        finally:
            self.opened.set()

    def wait_for(self, kind):
        with self.arrived:
            self.arrived.wait_for(lambda: kind in self.kinds, EVENT_LIMIT_S)


def main():
    ready_file, directory = sys.argv[1:3]
    generate(directory)
    import specification_pb2 as pb
    import specification_pb2_grpc as services

    ready = json.loads(pathlib.Path(ready_file).read_text())
    authority = pathlib.Path(ready["ca"]).read_bytes()
    first, second = ready["people"][:2]
    bearer = (("authorization", f"Bearer {first['token']}"),)

    plain = grpc.secure_channel(ready["grpc"], grpc.ssl_channel_credentials(authority))
    certified = grpc.secure_channel(
        ready["grpc"],
        grpc.ssl_channel_credentials(
            authority,
            pathlib.Path(second["key"]).read_bytes(),
            pathlib.Path(second["certificate"]).read_bytes(),
        ),
    )
    by_token = services.DsmilCommunicationServiceStub(plain)
    by_certificate = services.DsmilCommunicationServiceStub(certified)

    def read_request(device, coordination):
        return pb.OperationCoordinationRequest(
            coordination_id=coordination,
            device_id=device,
            operation_type=pb.OPERATION_READ,
            track_involvement=pb.TrackInvolvement(kernel_track=True, security_track=True, interface_track=True),
            auth_context=pb.AuthContext(user_id="somebody-else", clearance_level=pb.CLEARANCE_COSMIC),
        )

    health = pb.HealthCheckRequest()
    attempt("health by token", by_token.HealthCheck, health, bearer)
    attempt("health by certificate", by_certificate.HealthCheck, health)
    attempt("read by nobody", by_token.CoordinateOperation, read_request(READ_TOKEN, "peer-nobody"))
    wrong = (("authorization", "Bearer not-a-token"),)
    attempt("read by a wrong token", by_token.CoordinateOperation, read_request(READ_TOKEN, "peer-wrong"), wrong)

    wanted = [pb.EVENT_OPERATION_COMPLETED, pb.EVENT_SECURITY_ALERT, pb.EVENT_EMERGENCY_STOP]
    subscription = Subscription(by_token, pb.EventSubscriptionRequest(event_types=wanted), bearer)
    subscription.opened.wait(CALL_LIMIT_S)
    attempt("read by token", by_token.CoordinateOperation, read_request(READ_TOKEN, "peer-token"), bearer)
    attempt("read by certificate", by_certificate.CoordinateOperation, read_request(READ_TOKEN, "peer-certificate"))
    subscription.wait_for(pb.EVENT_OPERATION_COMPLETED)
    attempt("read of a gap token", by_certificate.CoordinateOperation, read_request(GAP_TOKEN, "peer-gap"))
    unknown = read_request(READ_TOKEN, "peer-unknown")
    unknown.operation_type = pb.OPERATION_UNKNOWN
    attempt("unknown operation", by_certificate.CoordinateOperation, unknown)
    attempt("publish an event", by_certificate.PublishEvent, pb.EventPublishRequest())

    stop = pb.EmergencyStopRequest(reason="end of the peer's test", priority=pb.PRIORITY_IMMEDIATE, triggered_by="peer")
    attempt("emergency stop", by_certificate.EmergencyStop, stop)
    subscription.wait_for(pb.EVENT_EMERGENCY_STOP)
    after = read_request(READ_TOKEN, "peer-after-stop")
    after.operation_type = pb.OPERATION_ACTIVATE
    attempt("activate after the stop", by_certificate.CoordinateOperation, after)
    attempt("health after the stop", by_certificate.HealthCheck, health)
    # Last, because an attempt on a quarantined device locks the session of whoever made it.
    quarantined = read_request(QUARANTINED_TOKEN, "peer-quarantine")
    attempt("read of a quarantined device", by_certificate.CoordinateOperation, quarantined)
    subscription.wait_for(pb.EVENT_SECURITY_ALERT)
    attempt("read with a locked session", by_certificate.CoordinateOperation, read_request(READ_TOKEN, "peer-locked"))

    subscription.call.cancel()
    subscription.thread.join(CALL_LIMIT_S)
    plain.close()
    certified.close()


main()
