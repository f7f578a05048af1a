# An Eclipse Paho client until it is killed. Its one argument is MortalOptions as JSON; it prints `ready`.
import json
import sys

import paho.mqtt.client as mqtt

options = json.loads(sys.argv[1])
will = options["will"]
birth = options.get("birth")


def on_connect(client, userdata, flags, code, properties=None):
    if birth is None:
        print("ready", flush=True)
    else:
        client.publish(birth["topic"], birth["payload"], qos=birth.get("qos", 1))


def on_publish(client, userdata, packet_id):
    print("ready", flush=True)


protocol = mqtt.MQTTv5 if options["version"] == 5 else mqtt.MQTTv311
client = mqtt.Client(client_id=options["clientId"], protocol=protocol)
client.on_connect = on_connect
client.on_publish = on_publish
client.will_set(will["topic"], will["payload"], qos=will.get("qos", 1))
client.connect("127.0.0.1", options["port"])
client.loop_forever()
