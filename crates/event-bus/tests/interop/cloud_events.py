"""A participant in Python: pika for AMQP, and the CloudEvents project's own SDK for the events.

    cloud_events.py URL consume QUEUE        prints the first event from the queue
    cloud_events.py URL publish MODE EVENT   publishes an event (JSON) in binary or structured mode
"""

import json
import sys
from datetime import datetime

import pika
from cloudevents.core.bindings import amqp
from cloudevents.core.v1.event import CloudEvent

PATIENCE = 20  # seconds


def consume(channel, queue):
    for method, properties, body in channel.consume(queue, inactivity_timeout=PATIENCE):
        if method is None:
            sys.exit(f"nothing came within {PATIENCE} s")
        channel.basic_ack(method.delivery_tag)
        message = amqp.AMQPMessage(
            properties={"content-type": properties.content_type},
            application_properties=properties.headers,
            application_data=body,
        )
        # The SDK's constructor refuses what is no valid event.
        event = amqp.from_amqp_event(message)
        json.dump({"attributes": event.get_attributes(), "data": event.get_data()},
                  sys.stdout, default=datetime.isoformat)
        return


def publish(channel, mode, event):
    attributes = event["attributes"]
    attributes["time"] = datetime.fromisoformat(attributes["time"])
    event = CloudEvent(attributes=attributes, data=event["data"])
    write = {"binary": amqp.to_binary_event, "structured": amqp.to_structured_event}[mode]
    message = write(event)
    properties = pika.BasicProperties(
        content_type=message.properties["content-type"],
        headers=message.application_properties,
    )
    channel.confirm_delivery()
    channel.basic_publish("events", event.get_type(), message.application_data, properties,
                          mandatory=True)


def main():
    url, command, *arguments = sys.argv[1:]
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    if command == "consume":
        consume(channel, *arguments)
    else:
        mode, event = arguments
        publish(channel, mode, json.loads(event))
    connection.close()


main()
