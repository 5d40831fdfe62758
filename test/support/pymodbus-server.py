"""Serves units 1 and 2 with pymodbus on the serial port named by the first argument, RTU at 19200 baud."""
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartSerialServer
from pymodbus.transaction import ModbusRtuFramer


def unit():
    return ModbusSlaveContext(
        hr=ModbusSequentialDataBlock(0, list(range(100, 300))),
        ir=ModbusSequentialDataBlock(0, list(range(500, 700))),
        co=ModbusSequentialDataBlock(0, [0, 1] * 50),
        di=ModbusSequentialDataBlock(0, [1, 0] * 50),
        zero_mode=True,
    )


StartSerialServer(
    context=ModbusServerContext(slaves={1: unit(), 2: unit()}, single=False),
    framer=ModbusRtuFramer,
    port=sys.argv[1],
    baudrate=19200,
    timeout=0.005,
)
