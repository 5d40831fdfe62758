"""A Modbus server made of python3-pymodbus: the far end of a serial line or a TCP port that nobody here wrote.

Prints one JSON object a line: {"ready": PORT or PATH} once it serves, {"wrote": TABLE, "address": N, "values": [...]}
for every write that reached its store. Reads commands from standard input, one JSON object a line:
{"set": TABLE, "address": N, "values": [...]} changes the store, {"corrupt": N} spoils the check sum of the next N
answers, {"mute": N} leaves the next N requests unanswered. Ends when standard input closes.
"""

import argparse
import asyncio
import json
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.factory import ServerDecoder
from pymodbus.server.async_io import ModbusSerialServer, ModbusTcpServer
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer

TABLE_SIZE = 64


def say(**members):
    print(json.dumps(members), flush=True)


class Block(ModbusSequentialDataBlock):
    """A table that tells of each write that came from a client."""

    def __init__(self, table, values):
        super().__init__(0, values)
        self.table = table

    def setValues(self, address, values):
        super().setValues(address, values)
        say(wrote=self.table, address=address, values=[int(value) for value in values])


class Mischief:
    """Spoils or swallows answers when told to."""

    def __init__(self, framer):
        self.corrupt = 0
        self.mute = 0
        self.framer = framer(ServerDecoder())

    def __call__(self, response):
        if self.mute > 0:
            self.mute -= 1
            response.should_respond = False
            return response, False
        if self.corrupt > 0:
            self.corrupt -= 1
            frame = bytearray(self.framer.buildPacket(response))
            frame[-1] ^= 0x55
            return bytes(frame), True
        return response, False


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--serial", help="path of a tty")
    parser.add_argument("--tcp", type=int, help="port on loopback, 0 for any")
    parser.add_argument("--baud", type=int, default=115200)
    parser.add_argument("--unit", type=int, default=17)
    options = parser.parse_args()

    blocks = {
        "holding": Block("holding", [index * 0x0101 for index in range(TABLE_SIZE)]),
        "input": Block("input", [0x8000 + index for index in range(TABLE_SIZE)]),
        "coil": Block("coil", [False] * TABLE_SIZE),
        "discrete": Block("discrete", [index % 2 == 1 for index in range(TABLE_SIZE)]),
    }
    slave = ModbusSlaveContext(
        hr=blocks["holding"], ir=blocks["input"], co=blocks["coil"], di=blocks["discrete"], zero_mode=True
    )
    context = ModbusServerContext(slaves={options.unit: slave}, single=False)
    mischief = Mischief(ModbusRtuFramer if options.serial is not None else ModbusSocketFramer)

    if options.serial is not None:
        server = ModbusSerialServer(
            context,
            ModbusRtuFramer,
            port=options.serial,
            baudrate=options.baud,
            ignore_missing_slaves=True,
            response_manipulator=mischief,
        )
        await server.start()
        if server.transport is None:
            raise SystemExit(f"cannot open {options.serial}")
        where = options.serial
    else:
        server = ModbusTcpServer(
            context,
            ModbusSocketFramer,
            address=("127.0.0.1", options.tcp),
            ignore_missing_slaves=True,
            response_manipulator=mischief,
            defer_start=True,
        )
        serving = asyncio.ensure_future(server.serve_forever())
        await server.serving
        where = server.server.sockets[0].getsockname()[1]
    say(ready=where)

    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        if "set" in command:
            block = blocks[command["set"]]
            ModbusSequentialDataBlock.setValues(block, command["address"], command["values"])
        mischief.corrupt = command.get("corrupt", mischief.corrupt)
        mischief.mute = command.get("mute", mischief.mute)
        say(done=command)
    if options.serial is None:
        serving.cancel()


asyncio.run(main())
